"""`nri-cdi status` on a real runtime: what was injected, what was created while nobody was there, and what is no more."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from lab import mock
from lab.agent import Agent
from lab.config import NRI_SOCKET
from lab.cri import CriError

from nri_cdi.cli import main
from nri_cdi.kubelet import api
from nri_cdi.testing.checkpoint import checkpoint, entry

if TYPE_CHECKING:
    from lab import cri_api
    from lab.served import Served

AWAY = "it was created while no NRI half of nri-cdi was connected"


class Allocations:
    """The kubelet's checkpoint of the node, and the command that reads it."""

    def __init__(self, served: Served, capsys: pytest.CaptureFixture[str]) -> None:
        self._served, self._capsys = served, capsys
        self._entries: list[dict[str, Any]] = []
        self._kubelet = served.node.path("/var/lib/kubelet")

    def devices(self, number: int) -> cri_api.ContainerConfig:
        """A container's share of an allocation, which is in the checkpoint from now on: of the pod `uid-NUMBER`."""
        config = self._served.devices(number, guard=False)
        answer = api.ContainerAllocateResponse(annotations=config.annotations)
        self._entries.append(entry(f"uid-{number}", "c", mock.KIND, [f"device_{number}"], answer))
        file = self._kubelet / "device-plugins" / "kubelet_internal_checkpoint"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(checkpoint(*self._entries))
        return config

    def states(self, status: int) -> dict[str, tuple[str, str, str]]:
        """Pod, state and fault by the kubelet's name of the pod; the command must end with `status`."""
        run_dir = str(self._served.node.path("/run/nri-cdi"))
        where = ("--run-dir", run_dir, "--nri-socket", NRI_SOCKET, "--kubelet-dir", str(self._kubelet))
        assert main(["status", "-o", "json", *where]) == status
        rows = json.loads(self._capsys.readouterr().out)["allocations"]
        return {row["pod_uid"]: (row["pod"], row["state"], row["fault"]) for row in rows}


@pytest.fixture
def allocations(served: Served, capsys: pytest.CaptureFixture[str]) -> Allocations:
    return Allocations(served, capsys)


def test_status_joins_allocations_with_injections_over_restarts_and_removals(
    served: Served, allocations: Allocations
) -> None:
    _ = served.agent
    injected = served.node.pod("injected")
    injected.container(extra=allocations.devices(1)).start()
    allocations.devices(2)
    first = {"uid-1": ("default/injected", "injected", ""), "uid-2": ("", "waiting", "")}
    assert allocations.states(0) == first

    served.without_agent()
    assert {uid: row[1] for uid, row in allocations.states(3).items()} == dict.fromkeys(first, "unknown")
    away = served.node.pod("away")
    container = away.container(extra=allocations.devices(3))
    agent = served.agent
    faulty = {**first, "uid-3": ("default/away", "faulty", AWAY)}
    assert allocations.states(1) == faulty
    assert f'found without its devices: container "c" of pod "default/away": {mock.name(3)} (nri-cdi.v1_' in agent.log()

    with pytest.raises(CriError):
        container.start()
    assert allocations.states(1) == faulty
    container.remove()
    assert allocations.states(0) == {**first, "uid-3": ("", "waiting", "")}


def test_either_slot_knows_what_was_injected_and_the_second_learns_it_from_the_runtime(
    served: Served, allocations: Allocations
) -> None:
    _ = served.agent
    served.node.pod("early").container(extra=allocations.devices(1)).start()
    with Agent(served.node.sandbox, "nri", "--plugin-index", "11", *served.flags) as second:
        second.wait_ready()
        served.node.pod("late").container(extra=allocations.devices(2)).start()
        known = {"uid-1": ("default/early", "injected", ""), "uid-2": ("default/late", "injected", "")}
        assert allocations.states(0) == known
        served.without_agent()
        assert allocations.states(0) == known
