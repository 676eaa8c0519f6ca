"""What the NRI half remembers of allocations, from creation to removal, and that Synchronize brings the same back. It never refuses for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from nri_cdi.allocation import key_name, mark_key
from nri_cdi.cdi import ContainerEdits
from nri_cdi.inject import Stance
from nri_cdi.inject.accounts import Accounts
from nri_cdi.inject.refusals import Subject
from nri_cdi.nri import Event, Refused, api
from nri_cdi.nri.versions import Version
from nri_cdi.testing.containers import carrying, injector, shown_at_start, snapshot

if TYPE_CHECKING:
    from nri_cdi.inject import InjectPlugin

STANCE = Stance("cdi.k8s.io/")
GATE_OFF = replace(STANCE, start_gate=False)
NAME = key_name(bytes(16))
ID = "0" * 32
OWN = f"cdi.k8s.io/{NAME}"
FOREIGN = "cdi.k8s.io/vendor_plugin"
SPECS = snapshot({"a": ContainerEdits(env=("A=1",))})
POD = api.PodSandbox(id="p", name="pod", namespace="team")
NRI = Version(0, 10, 0)
DEVICES = carrying(OWN).annotations[OWN]
AWAY = "it was created while no NRI half of nri-cdi was connected"
LACKS = "it lacks 1 of the things that were promised at its creation"


def plugin(stance: Stance = STANCE) -> InjectPlugin:
    return injector(SPECS, stance=stance)


def container(identity: str = "c1", state: api.ContainerState = api.CONTAINER_RUNNING, key: str = OWN) -> api.Container:
    """One that nobody has injected anything into."""
    made = carrying(key)
    made.id, made.pod_sandbox_id, made.state = identity, POD.id, state
    return made


def create(asked: InjectPlugin, identity: str = "c1") -> api.Container:
    """Create a container; returns it as it stands at its start."""
    made = container(identity)
    answer = asked.create_container(api.CreateContainerRequest(pod=POD, container=made))
    return shown_at_start(made, answer.adjust if answer else api.ContainerAdjustment(), NRI)


def faults(asked: InjectPlugin) -> dict[str, tuple[str, str]]:
    """Container id and fault, by allocation."""
    return {id_: (entry.container_id, entry.fault) for id_, entry in asked.accounts.entries().items()}


def test_an_injection_is_accounted_for_by_the_id_of_its_allocation() -> None:
    asked = plugin()
    create(asked)
    ((allocation, entry),) = asked.accounts.entries().items()
    assert allocation == ID
    assert (entry.namespace, entry.pod, entry.container, entry.container_id) == ("team", "pod", "main", "c1")
    assert entry.devices == DEVICES


def test_what_is_only_observed_is_no_injection() -> None:
    asked = plugin(replace(STANCE, observe=True))
    create(asked)
    assert faults(asked) == {}


def test_a_refused_creation_is_no_injection() -> None:
    asked = plugin()
    with pytest.raises(Refused):
        asked.create_container(api.CreateContainerRequest(pod=POD, container=carrying(OWN, "nosuch")))
    assert faults(asked) == {}


def test_an_entry_goes_with_its_container() -> None:
    asked = plugin()
    asked.state_change(Event.REMOVE_CONTAINER, POD, create(asked))
    assert faults(asked) == {}


def test_the_removal_of_an_earlier_container_leaves_the_entry_of_the_present_one() -> None:
    asked = plugin()
    first = create(asked, "c1")
    create(asked, "c2")
    asked.state_change(Event.REMOVE_CONTAINER, POD, first)
    assert faults(asked) == {ID: ("c2", "")}


def test_a_removal_that_comes_too_late_is_answered_with_a_success() -> None:
    payload = api.StateChangeEvent(event=api.Event.REMOVE_CONTAINER, container=container()).SerializeToString()
    assert plugin().overdue(Event.REMOVE_CONTAINER, payload, state_change=True) is None


@pytest.mark.parametrize(("annotations", "fault"), [({}, AWAY), ({mark_key(NAME): "AAAA"}, LACKS)])
def test_a_container_found_without_its_devices_is_reported_by_pod_container_and_key(
    annotations: dict[str, str], fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = container()
    found.annotations.update(annotations)
    asked = plugin()
    # the pods may come in one part of Synchronize and their containers in another
    asked.synchronize([POD], [], more=True)
    asked.synchronize([], [found], more=False)
    assert 'found without its devices: container "main" of pod "team/pod"' in caplog.text
    assert f"({NAME}): {fault}" in caplog.text
    assert faults(asked) == {ID: ("c1", fault)}


def test_a_container_that_the_start_gate_refuses_is_faulty_until_the_next_one_is_created(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked = plugin()
    with pytest.raises(Refused):
        asked.state_change(Event.START_CONTAINER, POD, container())
    assert 'container "main" of pod "team/pod"' in caplog.text
    assert faults(asked) == {ID: ("c1", AWAY)}
    create(asked, "c2")
    assert faults(asked) == {ID: ("c2", "")}


def test_without_the_start_gate_what_starts_without_its_devices_is_reported_and_starts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked = plugin(GATE_OFF)
    asked.state_change(Event.START_CONTAINER, POD, container())
    assert f'starts without its devices: container "main" of pod "team/pod": {DEVICES} ({NAME}): {AWAY}' in caplog.text
    assert faults(asked) == {ID: ("c1", AWAY)}


@pytest.mark.parametrize("stance", [STANCE, GATE_OFF], ids=["gate", "no gate"])
def test_a_container_that_starts_with_all_that_was_promised_has_no_fault_even_if_its_creation_was_forgotten(
    stance: Stance, caplog: pytest.LogCaptureFixture
) -> None:
    started, asked = create(plugin()), plugin(stance)
    asked.state_change(Event.START_CONTAINER, POD, started)
    assert faults(asked) == {ID: ("c1", "")}
    assert caplog.text == ""


def test_after_a_restart_synchronize_brings_back_the_accounts_of_before(caplog: pytest.LogCaptureFixture) -> None:
    before, after = plugin(), plugin()
    running, stopped = create(before, "c1"), container("c0", api.CONTAINER_STOPPED)
    running.pod_sandbox_id, running.state = POD.id, api.CONTAINER_RUNNING
    after.synchronize([POD], [stopped, running, container("f", key=FOREIGN)], more=False)
    assert after.accounts.entries() == before.accounts.entries()
    assert caplog.text == ""


@pytest.mark.parametrize("stopped_last", [True, False])
def test_a_stopped_container_stands_for_its_allocation_only_where_no_other_does(*, stopped_last: bool) -> None:
    asked = plugin()
    stopped = create(plugin(), "c1")
    stopped.state = api.CONTAINER_STOPPED
    asked.synchronize([POD], [stopped], more=False)
    assert faults(asked) == {ID: ("c1", "")}
    both = [container("c2"), stopped] if stopped_last else [stopped, container("c2")]
    asked.synchronize([POD], both, more=False)
    assert faults(asked) == {ID: ("c2", AWAY)}


def test_a_container_that_synchronize_does_not_name_any_more_leaves_the_accounts() -> None:
    asked = plugin()
    create(asked)
    asked.synchronize([POD], [], more=True)
    assert faults(asked) == {ID: ("c1", "")}
    asked.synchronize([], [], more=False)
    assert faults(asked) == {}


def test_the_accounts_forget_the_oldest_when_there_are_too_many_and_count_them() -> None:
    accounts = Accounts(limit=2)
    for n in (1, 2, 3):
        accounts.injected(Subject("n", "p", "c"), "id", {key_name(bytes([n] * 16)): "v.com/d=0"})
    assert list(accounts.entries()) == ["02" * 16, "03" * 16]
    assert accounts.forgotten == 1


def test_no_entry_takes_more_memory_than_names_of_kubernetes_do() -> None:
    accounts = Accounts()
    accounts.injected(Subject("n" * 9999, "p" * 9999, "c" * 9999), "i" * 9999, {NAME: "v.com/d=0," * 9999})
    (entry,) = accounts.entries().values()
    assert all(len(getattr(entry, name)) <= 253 for name in type(entry).__slots__)
