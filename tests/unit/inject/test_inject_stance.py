"""What the operator's settings change: observe, foreign keys, keys on the pod, the policy, the start gate, the strict link."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from nri_cdi.allocation import key_name
from nri_cdi.cdi import ContainerEdits, DeviceNode
from nri_cdi.inject import Policy, Stance
from nri_cdi.nri import Event, Refused, api
from nri_cdi.testing.containers import carrying, injector, snapshot

if TYPE_CHECKING:
    from nri_cdi.inject import InjectPlugin

STANCE = Stance("cdi.k8s.io/")
NAME = key_name(bytes(16))
OWN = f"cdi.k8s.io/{NAME}"
FOREIGN = "cdi.k8s.io/vendor_plugin"
SPECS = snapshot({"a": ContainerEdits(env=("A=1",), device_nodes=(DeviceNode("/dev/a", type="c", major=1, minor=3),))})
POD = api.PodSandbox(id="p", name="pod", namespace="team")


def plugin(stance: Stance) -> InjectPlugin:
    return injector(SPECS, stance=stance)


def create(stance: Stance, container: api.Container, pod: api.PodSandbox = POD) -> api.CreateContainerResponse | None:
    return plugin(stance).create_container(api.CreateContainerRequest(pod=pod, container=container))


def test_observe_changes_nothing_and_says_what_it_would_do(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "nri_cdi")
    assert create(replace(STANCE, observe=True), carrying(OWN)) is None
    assert "observed: would inject" in caplog.text


def test_observe_refuses_nothing_and_says_what_it_would_refuse(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "nri_cdi")
    observing = plugin(replace(STANCE, observe=True))
    request = api.CreateContainerRequest(pod=POD, container=carrying(OWN, "nosuch"))
    assert observing.create_container(request) is None
    assert observing.overdue(Event.CREATE_CONTAINER, request.SerializeToString(), state_change=False) is None
    observing.state_change(Event.START_CONTAINER, POD, carrying(OWN))
    assert "observed: would be refused" in caplog.text
    assert "nosuch" in caplog.text


def test_foreign_keys_are_injected_unless_they_are_to_be_ignored() -> None:
    injected = create(STANCE, carrying(FOREIGN))
    assert injected is not None
    assert [device.path for device in injected.adjust.linux.devices] == ["/dev/a"]
    assert create(replace(STANCE, foreign_keys=False), carrying(FOREIGN)) is None


def test_a_foreign_key_that_is_ignored_is_not_refused_either() -> None:
    assert create(replace(STANCE, foreign_keys=False), carrying(FOREIGN, "nosuch")) is None


def test_foreign_keys_on_the_pod_are_believed_only_on_request() -> None:
    pod = api.PodSandbox(name="pod", namespace="team", annotations={FOREIGN: carrying(FOREIGN).annotations[FOREIGN]})
    assert create(STANCE, carrying(FOREIGN), pod) is None
    assert create(replace(STANCE, trust_pod=True), carrying(FOREIGN), pod) is not None


def test_allocation_keys_on_the_pod_are_refused_also_where_pods_are_trusted() -> None:
    pod = api.PodSandbox(name="pod", namespace="team", annotations={OWN: "x"})
    with pytest.raises(Refused, match="stands on the pod"):
        create(replace(STANCE, trust_pod=True), carrying(OWN), pod)


@pytest.mark.parametrize("key", [OWN, FOREIGN])
def test_the_policy_holds_for_our_keys_and_for_foreign_ones(key: str) -> None:
    with pytest.raises(Refused, match="allow-namespace"):
        create(replace(STANCE, policy=Policy(namespaces=("other",))), carrying(key))


def test_without_the_start_gate_a_container_without_its_mark_starts() -> None:
    with pytest.raises(Refused, match="created without its CDI devices"):
        plugin(STANCE).state_change(Event.START_CONTAINER, POD, carrying(OWN))
    plugin(replace(STANCE, start_gate=False)).state_change(Event.START_CONTAINER, POD, carrying(OWN))


def test_only_the_strict_link_subscribes_the_validation_of_all_containers() -> None:
    assert plugin(STANCE).events == {Event.CREATE_CONTAINER, Event.START_CONTAINER, Event.REMOVE_CONTAINER}
    assert Event.VALIDATE_CONTAINER_ADJUSTMENT in plugin(replace(STANCE, strict_link=True)).events
