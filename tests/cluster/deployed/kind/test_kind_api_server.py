"""The rendered chart and the plain manifests before a real API server."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

import pytest
from deployed.command import CHECKOUT
from deployed.matrix import MATRIX
from deployed.release import Release
from lab import mock
from lab.kube_pods import container, pod
from lab.trouble import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from deployed.kind import KindCluster

pytestmark = pytest.mark.timeout(400)


@pytest.mark.parametrize("number", range(len(MATRIX)))
def test_the_api_server_takes_the_rendered_chart(cluster: KindCluster, tmp_path: Path, number: int) -> None:
    values = tmp_path / "values.json"
    values.write_text(json.dumps(MATRIX[number]))
    text = Release(cluster, "default").rendered("--values", str(values), "--kube-version", "1.34.0")
    said = cluster.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text)
    assert "daemonset" in said


def test_the_api_server_takes_the_plain_manifests_and_they_work(cluster: KindCluster) -> None:
    text = (CHECKOUT / "deploy/manifests/nri-cdi.yaml").read_text()
    Release(cluster).helm("uninstall", "nri-cdi", "--ignore-not-found", "--wait")
    cluster.kubectl("apply", "--validate=strict", "-f", "-", stdin=text)
    cluster.kubectl("-n", "nri-cdi", "rollout", "status", "daemonset/nri-cdi", "--timeout=120s")
    cluster.kubectl("delete", "-f", "-", stdin=text)


def test_pods_that_ask_for_our_resource_are_marked_as_needing_the_plugin_where_the_policy_is_enabled(
    cluster: KindCluster, release: Release
) -> None:
    release.install("--set=requiredPluginsPolicy.enabled=true")
    key = "required-plugins.noderesource.dev"
    names = itertools.count()

    def annotations(devices: int) -> dict[str, str]:
        name = f"asked-{next(names)}"
        cluster.apply(pod(name, container(devices={mock.KIND: devices} if devices else None)))
        found = json.loads(cluster.kubectl("get", "pod", name, "-o", "json"))["metadata"].get("annotations", {})
        return {one: text for one, text in found.items() if one == key}

    wait_until(lambda: annotations(1) == {key: '["nri-cdi"]'}, 30, "the policy to be in force", 0.5)
    assert annotations(0) == {}
