"""What a container was given stays its own: over restarts, crashes and reboots of everything around it."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest
from lab import mock
from lab.equipped import HALVES
from lab.kube_pods import asking, container, pod
from lab.kubelet import CHECKPOINT
from lab.trouble import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.cluster import Cluster
    from lab.equipped import Equipped


def test_the_devices_that_a_container_reaches_are_those_that_podresources_names(
    equipped: Equipped, cluster: Cluster
) -> None:
    pods = {"one": 1, "three": 3, "two": 2}
    cluster.create(*(asking(name, mock.KIND, count) for name, count in pods.items()))
    cluster.wait_running(*pods)
    seen = {name: equipped.look(name) for name in pods}
    assert {name: one.problems for name, one in seen.items()} == {name: [] for name in pods}
    assert {name: len(one.allocated) for name, one in seen.items()} == pods
    allocated = [device for one in seen.values() for device in one.allocated]
    assert len(set(allocated)) == len(allocated)


def restart_containerd(equipped: Equipped) -> None:
    equipped.cluster.node.restart()


def kill_containerd(equipped: Equipped) -> None:
    equipped.cluster.node.kill_daemon()
    equipped.cluster.node.start_daemon()


def restart_kubelet(equipped: Equipped) -> None:
    equipped.cluster.kubelet.restart()


def kill_kubelet(equipped: Equipped) -> None:
    equipped.cluster.kubelet.restart(signal.SIGKILL)


def restart_both(equipped: Equipped) -> None:
    """Neither finds the other there when it comes."""
    cluster = equipped.cluster
    cluster.kubelet.stop()
    cluster.node.stop_daemon()
    cluster.kubelet.start()
    cluster.node.start_daemon()


def restart_agent(equipped: Equipped) -> None:
    equipped.stop()
    equipped.start(*HALVES)


def kill_agent(equipped: Equipped) -> None:
    equipped.kill()
    equipped.start(*HALVES)


def restart_all(equipped: Equipped) -> None:
    equipped.stop()
    restart_both(equipped)


EVENTS = {
    "containerd restarted": restart_containerd,
    "containerd killed": kill_containerd,
    "kubelet restarted": restart_kubelet,
    "kubelet killed": kill_kubelet,
    "containerd and kubelet restarted together": restart_both,
    "nri-cdi restarted": restart_agent,
    "nri-cdi killed": kill_agent,
    "all of them restarted": restart_all,
}


@pytest.mark.parametrize("happens", EVENTS.values(), ids=EVENTS.keys())
def test_running_containers_and_their_devices_stay(
    equipped: Equipped, cluster: Cluster, happens: Callable[[Equipped], None]
) -> None:
    cluster.create(asking("one", mock.KIND, 3), asking("two", mock.KIND, 2))
    cluster.wait_running("one", "two")
    before = {name: (cluster.status(name).containers["c"].id, equipped.look(name)) for name in ("one", "two")}

    happens(equipped)
    cluster.kubelet.wait()
    equipped.start(*HALVES)

    after = {name: (cluster.status(name).containers["c"].id, equipped.look(name)) for name in ("one", "two")}
    assert after == before
    # the same again for a new container of the pod, from the kubelet's checkpoint
    cluster.end("one")
    cluster.wait("one", lambda status: status.containers["c"].restarts == 1 and status.running, "to be restarted")
    assert equipped.look("one") == before["one"][1]
    # and the books agree: three are free, no more
    cluster.create(asking("rest", mock.KIND, 3), asking("too-many", mock.KIND, 1))
    cluster.wait_running("rest")
    cluster.wait_event("too-many", "FailedScheduling", f"Insufficient {mock.KIND}")
    taken = [*before["one"][1].allocated, *before["two"][1].allocated]
    assert not set(equipped.look("rest").allocated) & set(taken)


def test_a_container_that_crashes_gets_the_same_devices_again(equipped: Equipped, cluster: Cluster) -> None:
    cluster.create(asking("one", mock.KIND, 2))
    cluster.wait_running("one")
    before = equipped.look("one")
    cluster.end("one")
    cluster.wait("one", lambda status: status.containers["c"].restarts == 1 and status.running, "to be restarted")
    assert equipped.look("one") == before
    assert before.problems == []


def test_a_pod_that_succeeded_is_not_admitted_again_and_its_devices_are_free(
    equipped: Equipped, cluster: Cluster
) -> None:
    done = pod("done", container(command=["true"], devices={mock.KIND: mock.COUNT}), restart="Never")
    cluster.create(done)
    cluster.wait_phase("done", "Succeeded")
    cluster.kubelet.restart()
    cluster.wait_allocatable(mock.KIND, mock.COUNT)
    cluster.create(asking("all", mock.KIND, mock.COUNT))
    cluster.wait_running("all")
    assert equipped.look("all").problems == []
    status = cluster.status("done")
    assert (status.phase, status.reason, status.containers["c"].restarts) == ("Succeeded", "", 0)


def test_devices_of_a_pod_that_was_deleted_while_the_kubelet_was_down_come_free(
    equipped: Equipped, cluster: Cluster
) -> None:
    cluster.create(asking("gone", mock.KIND, 5), asking("stays", mock.KIND, 3))
    cluster.wait_running("gone", "stays")
    old, stays = cluster.status("gone").containers["c"].id, equipped.look("stays")
    cluster.kubelet.stop()
    cluster.delete("gone")
    cluster.kubelet.start()
    cluster.kubelet.wait()
    equipped.start(*HALVES)
    # not before: one that is there already when the kubelet comes is rejected, the kubelet has not let go of the devices then
    cluster.create(asking("next", mock.KIND, 5))
    cluster.wait_running("next")
    after = equipped.look("next")
    assert after.problems == []
    assert not set(after.allocated) & set(stays.allocated)
    assert equipped.look("stays") == stays
    wait_until(lambda: old not in cluster.running(), 20, "the end of the old container")


def test_init_containers_and_containers_each_have_their_own(equipped: Equipped, cluster: Cluster) -> None:
    script = "ls /dev/mock | tr '\\n' ' '"
    init = container("first", ["sh", "-c", script], {mock.KIND: 2})
    apps = [container(name, devices={mock.KIND: 1}) for name in ("c", "d")]
    cluster.create(pod("one", *apps, init=[init]))
    cluster.wait_running("one")
    seen = {name: equipped.look("one", name) for name in ("c", "d")}
    assert {name: one.problems for name, one in seen.items()} == {"c": [], "d": []}
    assert [len(one.allocated) for one in seen.values()] == [1, 1]
    # the kubelet gives the devices of an init container that has ended to the others
    assert cluster.logs("one", "first").split() == sorted(seen["c"].allocated + seen["d"].allocated)


def sidecar(devices: int) -> dict[str, object]:
    """An init container that goes on running, and is started again whenever it ends."""
    return {**container("side", devices={mock.KIND: devices}), "restartPolicy": "Always"}


def test_a_sidecar_keeps_its_devices_over_its_restart_while_the_others_keep_theirs(
    equipped: Equipped, cluster: Cluster
) -> None:
    cluster.create(pod("one", container(devices={mock.KIND: 2}), init=[sidecar(3)]))
    cluster.wait_running("one")
    before = {name: equipped.look("one", name) for name in ("side", "c")}
    assert {name: (len(one.allocated), one.problems) for name, one in before.items()} == {"side": (3, []), "c": (2, [])}
    assert not set(before["side"].allocated) & set(before["c"].allocated)

    cluster.end("one", "side")
    cluster.wait(
        "one", lambda status: status.containers["side"].restarts == 1 and status.containers["side"].ready, "to go on"
    )
    cluster.kubelet.restart()
    equipped.start(*HALVES)
    assert {name: equipped.look("one", name) for name in ("side", "c")} == before
    assert cluster.status("one").containers["c"].restarts == 0


def test_a_job_with_a_sidecar_ends_and_frees_all_devices(equipped: Equipped, cluster: Cluster) -> None:
    work = container(command=["sh", "-c", "ls /dev/mock | wc -l"], devices={mock.KIND: 4})
    cluster.create(pod("job", work, init=[sidecar(4)], restart="Never"))
    cluster.wait_phase("job", "Succeeded")
    assert cluster.logs("job").strip() == "4"
    cluster.create(asking("all", mock.KIND, mock.COUNT))
    cluster.wait_running("all")
    assert equipped.look("all").problems == []


@pytest.fixture(params=["kubelet.sock", "plugins-registry"])
def registration(request: pytest.FixtureRequest, equipped: Equipped) -> Iterator[str]:
    """How the kubelet half is registered that a test starts; later tests have theirs."""
    yield str(request.param)
    equipped.stop("device-plugin")


def test_pods_come_back_with_their_devices_after_a_reboot_of_the_node(
    equipped: Equipped, cluster: Cluster, registration: str
) -> None:
    """nri-cdi is a service of the node here: containerd has started before, and the kubelet starts when both halves have said that they are ready."""
    both = pod("both", container(devices={mock.KIND: 1}), init=[sidecar(2)])
    cluster.create(asking("one", mock.KIND, 3), both)
    cluster.wait_running("one", "both")
    places = (("one", "c"), ("both", "c"), ("both", "side"))
    before = {place: equipped.look(*place) for place in places}
    old = cluster.status("one").containers["c"].id
    boot = cluster.kubelet.node()["status"]["nodeInfo"]["bootID"]

    cluster.reboot()
    checkpoint = json.loads(cluster.path(CHECKPOINT).read_text())
    assert len(checkpoint["Data"]["PodDeviceEntries"]) == len(places)
    cluster.node.start()
    equipped.boot("--registration", registration)
    cluster.kubelet.start()
    cluster.kubelet.wait()
    equipped.start(*HALVES)

    cluster.wait("one", lambda status: status.running and status.containers["c"].id != old, "to be started anew")
    cluster.wait_running("both")
    assert cluster.kubelet.node()["status"]["nodeInfo"]["bootID"] != boot
    assert {place: equipped.look(*place) for place in places} == before


def test_after_a_reboot_device_nodes_that_appear_late_cost_no_pod(equipped: Equipped, cluster: Cluster) -> None:
    """A driver is slower than the kubelet: containers are held until the nodes are there."""
    cluster.create(asking("one", mock.KIND, 3), asking("two", mock.KIND, 2))
    cluster.wait_running("one", "two")
    before = {name: equipped.look(name) for name in ("one", "two")}
    cluster.reboot()
    nodes = cluster.path("/dev/mock")
    for node in nodes.iterdir():
        node.unlink()
    cluster.node.start()
    equipped.boot()
    cluster.kubelet.start()
    cluster.kubelet.wait()
    for name in before:
        assert "is not there" in cluster.wait_reason(name, "CreateContainerConfigError")
        assert cluster.status(name).phase != "Failed"
    equipped.furnish()
    cluster.hurry(*before)
    assert {name: equipped.look(name) for name in before} == before


def test_after_a_reboot_a_plugin_that_comes_late_finds_its_pods_rejected_and_serves_new_ones(
    equipped: Equipped, cluster: Cluster
) -> None:
    """The kubelet's own rule for every device plugin: what waits for its start and finds no healthy device has failed for good."""
    cluster.create(asking("one", mock.KIND, 3))
    cluster.wait_running("one")
    cluster.reboot()
    equipped.agents.clear()
    cluster.node.start()
    cluster.kubelet.start()
    cluster.kubelet.wait()
    assert cluster.wait_phase("one", "Failed").reason == "UnexpectedAdmissionError"
    equipped.start(*HALVES)
    cluster.create(asking("all", mock.KIND, mock.COUNT))
    cluster.wait_running("all")
    assert equipped.look("all").problems == []
