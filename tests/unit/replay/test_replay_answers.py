"""Answers that releases gave, as they were recorded: the kubelet replays them for the life of a pod, over upgrades and rollbacks.

A recording is never edited. It is of one Allocate for the devices a and b (the answer, the kubelet's checkpoint with it), of the mark that
CreateContainer left when each of them brought one variable, and of what the kubelet half left in its directory. A release that answers otherwise adds a recording.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nri_cdi.allocation import GUARD_ROOT, allocation_id, mark_key
from nri_cdi.cdi import ContainerEdits
from nri_cdi.inject.marks import broken
from nri_cdi.inject.request import shown
from nri_cdi.kubelet.allocate import allocate, to_plain
from nri_cdi.kubelet.carried import carried
from nri_cdi.kubelet.memory import Memory
from nri_cdi.nri import Version, api
from nri_cdi.testing.containers import KIND, POD, VERSIONS, adjusted, shown_at_start

PREFIX = "cdi.k8s.io/"
RECORDINGS = sorted(Path(__file__).with_name("recordings").glob("*.json"))
NEWEST = RECORDINGS[-1]
EDITS = [ContainerEdits(env=("A=1",)), ContainerEdits(env=("B=1",))]


def recorded(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(path.read_text())
    return record


def container(record: dict[str, Any]) -> api.Container:
    """The container as the runtime shows it when the kubelet replays the answer."""
    made = api.Container(name="main", annotations=record["annotations"])
    for mount in record["mounts"]:
        made.mounts.add(
            destination=mount["container_path"],
            source=mount["host_path"],
            type="bind",
            options=["rbind", "rprivate", "ro"],
        )
    return made


@pytest.fixture(params=RECORDINGS, ids=lambda path: path.stem)
def record(request: pytest.FixtureRequest) -> dict[str, Any]:
    return recorded(request.param)


@pytest.mark.parametrize("nri", VERSIONS.values(), ids=VERSIONS.keys())
def test_after_an_upgrade_a_container_gets_the_devices_of_its_old_answer_and_starts(
    record: dict[str, Any], nri: Version
) -> None:
    asked = container(record)
    adjust = adjusted(asked, *EDITS, nri=nri)
    assert {entry.key for entry in adjust.env} == {"A", "B"}
    assert any(GUARD_ROOT in mount.destination for mount in adjust.mounts), "the guard is lifted"
    ((key, mark),) = record["mark"].items()
    assert key == mark_key(next(iter(record["annotations"])).removeprefix(PREFIX))
    started = shown_at_start(asked, adjust, nri)
    assert broken(started.annotations[key], shown(POD, started)) == 0
    assert broken(mark, shown(POD, started)) == 0, "also of one that the old release created"


def test_after_an_upgrade_its_containers_are_found_in_the_kubelets_checkpoint(record: dict[str, Any]) -> None:
    (one,) = carried(json.dumps(record["checkpoint"]))
    assert (one.resource, one.devices, one.guarded) == (KIND, ("a", "b"), True)


def test_after_an_upgrade_what_was_advertised_is_known(record: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "memory.json"
    path.write_text(json.dumps(record["memory"]))
    memory = Memory(path, KIND, record["memory"]["boot"])
    assert {one.candidate.id: one.healthy for one in memory.recalled} == {"a": True, "b": False}
    assert memory.same_boot


def test_after_a_rollback_the_release_before_finds_its_own_form_for_this_one_answers_as_recorded() -> None:
    record = recorded(NEWEST)
    (key,) = record["annotations"]
    again = allocate(["a", "b"], KIND, prefix=PREFIX, random_id=bytes.fromhex(allocation_id(key)), guard=True)
    assert to_plain(again) == {
        "annotations": record["annotations"],
        "mounts": record["mounts"],
        "envs": {},
        "devices": [],
    }
