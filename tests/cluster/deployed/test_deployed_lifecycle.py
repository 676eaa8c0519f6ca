"""Upgrade, rollback and uninstall: what running containers keep, and what is left."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from deployed.sight import look, right
from lab import mock
from lab.kube_pods import asking
from lab.trouble import wait_until

if TYPE_CHECKING:
    from deployed.reached import Reached
    from deployed.release import Release

REFUSED = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}

pytestmark = pytest.mark.timeout(400)


def test_an_upgrade_and_a_rollback_leave_running_containers_their_devices(cluster: Reached, release: Release) -> None:
    cluster.apply(asking("stays", mock.KIND, 3))
    before = cluster.wait_running("stays").containers["c"]
    seen = look(cluster, "stays")
    assert right(seen, 3)
    (old,) = release.pods()
    release.install("--set=log.level=debug")
    (new,) = release.pods()
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    release.helm("rollback", release.name, "--wait", "--timeout=120s")
    after = cluster.pod("stays").containers["c"]
    assert (after.id, after.restarts, look(cluster, "stays")) == (before.id, 0, seen)


def test_after_an_uninstall_running_containers_keep_their_devices_and_restarted_ones_wait_for_the_agent(
    cluster: Reached, release: Release
) -> None:
    cluster.apply(asking("stays", mock.KIND, 3))
    cluster.wait_running("stays")
    check = ["exec", "ds/nri-cdi", "-c", "device-plugin", "--", "nri-cdi", "uninstall-check", "-o", "json"]
    said = json.loads(release.kubectl(*check, ok=False).partition("command terminated")[0])["containers"]
    assert [(one["container"], len(one["devices"]), one["guarded"]) for one in said] == [("c", 3, True)]
    release.uninstall()
    assert right(look(cluster, "stays"), 3)
    cluster.wait_allocatable(mock.KIND, 0)

    cluster.kill_container(cluster.pod("stays").containers["c"].id)
    wait_until(lambda: cluster.pod("stays").containers["c"].reason in REFUSED, 90, "a refused restart", 0.5)
    assert not cluster.pod("stays").running

    release.install()
    cluster.wait_running("stays", timeout=150)
    assert right(look(cluster, "stays"), 3)


def test_what_an_uninstall_leaves_on_the_node_can_be_removed(cluster: Reached, release: Release) -> None:
    release.uninstall()
    cluster.wait_allocatable(mock.KIND, 0)
    cluster.restart_kubelet()
    key = mock.KIND.replace("/", "~1")
    patch = json.dumps([{"op": "remove", "path": f"/status/{part}/{key}"} for part in ("capacity", "allocatable")])

    def removed() -> bool:
        cluster.kubectl(
            "patch", "node", cluster.node, "--subresource=status", "--type=json", f"--patch={patch}", ok=False
        )
        return mock.KIND not in cluster.kubectl("get", "node", cluster.node, "-o", "jsonpath={.status}")

    wait_until(removed, 60, "the resource to leave the node's status", 1)
    cluster.in_node("rm -rf /run/nri-cdi /var/lib/kubelet/device-plugins/nri-cdi*")
    assert "nri-cdi" not in cluster.in_node("ls /run /var/lib/kubelet/device-plugins")
