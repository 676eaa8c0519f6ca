"""Upgrade, rollback and uninstall on kind; nodes that are not as the chart expects them; the rendered chart before a real API server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from kind.cluster import CHECKOUT
from kind.matrix import MATRIX
from kind.release import Release
from kind.sight import look, right
from lab import mock
from lab.kube_pods import asking
from lab.trouble import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kind.cluster import KindCluster

REFUSED = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}

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
    (agent,) = release.pods()
    return {one["name"]: one for one in agent["status"]["containerStatuses"]}


def test_an_upgrade_and_a_rollback_leave_running_containers_their_devices(
    cluster: KindCluster, release: Release
) -> None:
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
    cluster: KindCluster, release: Release
) -> None:
    cluster.apply(asking("stays", mock.KIND, 3))
    cluster.wait_running("stays")
    check = ["exec", "ds/nri-cdi", "-c", "device-plugin", "--", "nri-cdi", "uninstall-check", "-o", "json"]
    said = json.loads(release.kubectl(*check, ok=False).partition("command terminated")[0])["containers"]
    assert [(one["container"], len(one["devices"]), one["guarded"]) for one in said] == [("c", 3, True)]
    release.uninstall()
    assert right(look(cluster, "stays"), 3)
    cluster.wait_allocatable(mock.KIND, 0)

    cluster.in_node(f"ctr -n k8s.io tasks kill -s KILL {cluster.pod('stays').containers['c'].id}")
    wait_until(lambda: cluster.pod("stays").containers["c"].reason in REFUSED, 90, "a refused restart", 0.5)
    assert not cluster.pod("stays").running

    release.install()
    cluster.wait_running("stays", timeout=150)
    assert right(look(cluster, "stays"), 3)


def test_what_an_uninstall_leaves_on_the_node_can_be_removed(cluster: KindCluster, release: Release) -> None:
    release.uninstall()
    cluster.wait_allocatable(mock.KIND, 0)
    cluster.in_node("systemctl restart kubelet")
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


def test_an_agent_where_the_socket_and_the_kubelet_are_elsewhere_says_so_and_does_not_crash(elsewhere: Release) -> None:
    values = "nri.socketDir=/run/no-nri,kubelet.dir=/opt/no-kubelet,nri.plugin.name=elsewhere,nri.plugin.index=30"
    elsewhere.install(f"--set={values}", ready=False)
    wait_until(
        lambda: elsewhere.pods() and all("running" in one["state"] for one in states(elsewhere).values()),
        60,
        "its containers to run",
        0.5,
    )
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


@pytest.mark.parametrize("number", range(len(MATRIX)))
def test_the_api_server_takes_the_rendered_chart(cluster: KindCluster, number: int) -> None:
    values = CHECKOUT / f"build/values-{number}.json"
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
