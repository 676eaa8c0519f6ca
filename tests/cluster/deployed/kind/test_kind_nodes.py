"""Nodes that are not as the chart expects them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from deployed.release import Release
from lab.trouble import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployed.kind import KindCluster

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def elsewhere(cluster: KindCluster) -> Iterator[Release]:
    """A second release, that its tests install where nothing is as it expects."""
    it = Release(cluster, "elsewhere")
    yield it
    it.uninstall()


def readyz(release: Release, container: str) -> str:
    """What the readiness page of a container says."""
    script = (
        "import urllib.request as r, urllib.error as e, sys\n"
        "try: print(r.urlopen(sys.argv[1]).read().decode())\n"
        "except e.HTTPError as error: print(error.read().decode())"
    )
    port = {"nri-a": 9810, "nri-b": 9811, "device-plugin": 9812}[container]
    url = f"http://127.0.0.1:{port}/readyz"
    return release.kubectl(
        "exec", release.pods()[0]["metadata"]["name"], "-c", container, "--", "python3", "-c", script, url
    )


def states(release: Release) -> dict[str, Any]:
    """The status of each container of the agent's pod; of a pod that its kubelet has not met yet, none."""
    (agent,) = release.pods()
    return {one["name"]: one for one in agent["status"].get("containerStatuses", ())}


def all_run(release: Release) -> bool:
    found = states(release) if release.pods() else {}
    return bool(found) and all("running" in one["state"] for one in found.values())


def test_an_agent_where_the_socket_and_the_kubelet_are_elsewhere_says_so_and_does_not_crash(elsewhere: Release) -> None:
    values = "nri.socketDir=/run/no-nri,kubelet.dir=/opt/no-kubelet,nri.plugin.name=elsewhere,nri.plugin.index=30"
    elsewhere.install(f"--set={values}", ready=False)
    wait_until(lambda: all_run(elsewhere), 60, "its containers to run", 0.5)
    wait_until(lambda: "/run/no-nri/nri.sock" in readyz(elsewhere, "nri-a"), 30, "the reason in nri-a's readiness", 0.5)
    where = "/opt/no-kubelet/device-plugins/kubelet.sock"
    wait_until(lambda: where in readyz(elsewhere, "device-plugin"), 30, "the reason in device-plugin's readiness", 0.5)
    logs = elsewhere.kubectl("logs", elsewhere.pods()[0]["metadata"]["name"], "--all-containers")
    assert "waiting for the NRI socket /run/no-nri/nri.sock: it is not there" in logs
    assert where in logs
    found = states(elsewhere)
    assert [(one["ready"], one["restartCount"]) for one in found.values()] == [(False, 0)] * 3


def test_an_agent_starts_where_a_spec_directory_is_missing_on_a_read_only_file_system(
    cluster: KindCluster, elsewhere: Release
) -> None:
    cluster.in_node("mkdir -p /opt/ro && (mountpoint -q /opt/ro || mount -t tmpfs -o ro none /opt/ro)")
    directory = json.dumps([{"path": "/opt/ro/cdi", "mountParent": True}])
    elsewhere.install(
        f"--set-json=cdi.specDirs={directory}", "--set=nri.plugin.name=elsewhere,nri.plugin.index=30", advertise=""
    )
    assert all(one["ready"] for one in states(elsewhere).values())
