"""Pods of 4, 3 and 2 of 8 devices, on a real kubelet and a containerd whose own CDI is off."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from lab import mock
from lab.config import NRI_SOCKET, native_cdi_always
from lab.equipped import HALVES
from lab.kube_pods import asking

from nri_cdi.cli import main

if TYPE_CHECKING:
    from lab.cluster import Cluster
    from lab.equipped import Equipped

UNSCHEDULABLE = f"0/1 nodes are available: 1 Insufficient {mock.KIND}."
"""The words of Kubernetes' scheduler; what follows is about preemption."""


def test_the_runtimes_own_cdi_is_off(cluster: Cluster) -> None:
    config = json.loads(cluster.node.cri.status(verbose=True).info["config"])
    if native_cdi_always(cluster.series):
        assert config["cdiSpecDirs"] == ["/run/no-cdi"]
    else:
        assert config["enableCDI"] is False


def joined(equipped: Equipped, capsys: pytest.CaptureFixture[str]) -> dict[str, tuple[str, list[str]]]:
    """By pod the state and the devices of its allocation, as `nri-cdi status` joins them; it must find all well.

    Containers of pods that have ended may be there still, also of ones that had the same name.
    """
    capsys.readouterr()
    run_dir, kubelet_dir = (str(equipped.cluster.path(path)) for path in ("/run/nri-cdi", "/var/lib/kubelet"))
    where = ("--run-dir", run_dir, "--kubelet-dir", kubelet_dir, "--nri-socket", NRI_SOCKET)
    assert main(["status", "-o", "json", *where]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["resources"] == [{"resource": mock.KIND, "problem": None}]
    return {row["pod"]: (row["state"], row["devices"]) for row in shown["allocations"] if row["state"] != "gone"}


@pytest.mark.parametrize("arrangement", [("run",), HALVES], ids=["one process", "two processes"])
def test_pods_of_4_3_and_2_get_their_devices_in_turn(
    equipped: Equipped, cluster: Cluster, arrangement: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    if arrangement != HALVES:
        equipped.stop()
        equipped.start(*arrangement)
    cluster.apply(asking("four", mock.KIND, 4), asking("three", mock.KIND, 3))
    cluster.wait_running("four", "three")
    cluster.apply(asking("two", mock.KIND, 2))
    event = cluster.wait_event("two", "FailedScheduling")
    assert (event.type, event.source) == ("Warning", "default-scheduler")
    assert event.message.startswith(UNSCHEDULABLE)
    assert UNSCHEDULABLE in cluster.describe("two")
    assert cluster.shown("two") == ("0/1", "Pending")

    four, three = equipped.look("four"), equipped.look("three")
    assert (four.problems, three.problems) == ([], [])
    assert (len(four.allocated), len(three.allocated)) == (4, 3)
    assert not set(four.allocated) & set(three.allocated)
    states = joined(equipped, capsys)
    assert states["default/four"] == ("injected", sorted(four.allocated))
    assert states["default/three"] == ("injected", sorted(three.allocated))

    cluster.delete("three")
    cluster.wait_running("two", timeout=20)
    two = equipped.look("two")
    assert two.problems == []
    assert len(two.allocated) == 2
    assert not set(four.allocated) & set(two.allocated)
    assert equipped.look("four") == four


def test_what_kubectl_exec_shows_is_what_was_allocated(equipped: Equipped, cluster: Cluster) -> None:
    cluster.apply(asking("one", mock.KIND, 2))
    cluster.wait_running("one")
    devices = cluster.devices("one")
    assert cluster.exec("one", "ls", "/dev/mock").split() == devices
    assert cluster.exec("one", "ls", "/mock/lib").split() == [f"{device}.so" for device in devices]
    assert equipped.look("one").allocated == devices


def test_a_node_that_was_not_allocated_cannot_be_opened_even_when_made_by_hand(
    equipped: Equipped, cluster: Cluster
) -> None:
    cluster.apply(asking("one", mock.KIND, 1), asking("other", mock.KIND, 1))
    cluster.wait_running("one", "other")
    (theirs,) = equipped.look("other").allocated
    number = theirs.removeprefix("device_")
    by_hand = f"mknod /tmp/d c {mock.MAJOR} {number}; cat /tmp/d 2>&1; true"
    assert "Operation not permitted" in cluster.exec("one", "sh", "-c", by_hand)


def test_a_pod_without_devices_runs_unchanged(equipped: Equipped, cluster: Cluster) -> None:
    cluster.apply(asking("plain", mock.KIND, 0))
    cluster.wait_running("plain")
    assert equipped.look("plain").problems == []
    assert not [key for key in cluster.spec("plain")["annotations"] if "nri-cdi" in key]
