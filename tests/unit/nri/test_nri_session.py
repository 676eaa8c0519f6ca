"""A session's handshake as a state machine: its steps, and silence at each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nri_cdi.nri import Event, RegistrationRefused, Session, Silent, State, Step, Terms, api
from nri_cdi.nri.session import REGISTRATION_TIMEOUT
from nri_cdi.testing.session import EVENTS, RUNTIME, Peer, configured, ready, registered
from nri_cdi.ttrpc import Code

if TYPE_CHECKING:
    from collections.abc import Callable


def state_of(peer: Peer) -> State:
    return peer.session.state


def test_a_plugin_registers_with_its_name_and_index_and_answers_configure_and_synchronize() -> None:
    peer = Peer()
    assert state_of(peer) is State.NEW
    peer.open()
    assert peer.registration is not None
    assert peer.registration.method == "RegisterPlugin"
    assert api.RegisterPluginRequest.FromString(peer.registration.payload) == api.RegisterPluginRequest(
        plugin_name="labels", plugin_idx="10"
    )
    assert state_of(peer) is State.REGISTERING
    peer.answer_registration()
    assert state_of(peer) is State.CONFIGURING

    configure = peer.call("Configure", api.ConfigureRequest(runtime_name="containerd"))
    assert configure.what is Step.CONFIGURE
    peer.session.configured(configure.stream, RUNTIME, 0.0)
    peer.collect()
    assert state_of(peer) is State.SYNCHRONIZING
    assert peer.session.runtime == RUNTIME
    payload = peer.answers[configure.stream].payload
    assert payload is not None
    assert api.ConfigureResponse.FromString(payload) == api.ConfigureResponse(events=0x28)

    synchronize = peer.call("Synchronize", api.SynchronizeRequest())
    assert synchronize.what is Step.SYNCHRONIZE
    peer.session.synchronized(synchronize.stream, [api.ContainerUpdate(container_id="c")], more=False, now=0.0)
    peer.collect()
    assert state_of(peer) is State.READY
    payload = peer.answers[synchronize.stream].payload
    assert payload is not None
    assert api.SynchronizeResponse.FromString(payload).update[0].container_id == "c"
    assert peer.session.next_deadline() is None


def test_configure_may_come_before_the_answer_to_the_registration() -> None:
    peer = Peer()
    peer.open()
    peer.session.configured(peer.call("Configure", api.ConfigureRequest()).stream, RUNTIME, 0.0)
    assert peer.session.state is State.SYNCHRONIZING
    peer.answer_registration()
    assert peer.session.state is State.SYNCHRONIZING


def test_the_failure_policy_is_sent_with_the_events() -> None:
    peer = Peer()
    peer.session = Session("labels", "10", EVENTS, Terms(failure_policy=api.FailurePolicy(fail_request=True)))
    peer.open()
    configure = peer.call("Configure", api.ConfigureRequest())
    peer.session.configured(configure.stream, RUNTIME, 0.0)
    peer.collect()
    payload = peer.answers[configure.stream].payload
    assert payload is not None
    assert api.ConfigureResponse.FromString(payload).failure_policy.fail_request


def test_configure_is_still_to_be_answered_when_the_runtime_knows_none_of_the_events() -> None:
    peer = Peer({Event.VALIDATE_CONTAINER_ADJUSTMENT})
    peer.open()
    request = peer.call("Configure", api.ConfigureRequest())
    with pytest.raises(ValueError, match="known to this runtime"):
        peer.session.configured(request.stream, RUNTIME, 0.0)
    assert peer.session.waiting
    assert peer.session.state is State.REGISTERING
    assert peer.session.refuse(request.stream, Code.FAILED_PRECONDITION, "none")


def test_a_part_of_synchronize_is_echoed_without_updates_and_the_last_one_carries_them() -> None:
    peer = configured()
    update = [api.ContainerUpdate(container_id="c")]
    for more in (True, True, False):
        request = peer.call("Synchronize", api.SynchronizeRequest(more=more))
        peer.session.synchronized(request.stream, update, more=more, now=0.0)
        peer.collect()
        payload = peer.answers[request.stream].payload
        assert payload is not None
        assert api.SynchronizeResponse.FromString(payload) == api.SynchronizeResponse(
            more=more, update=() if more else update
        )
        assert peer.session.state is (State.SYNCHRONIZING if more else State.READY)


def test_endless_empty_parts_of_synchronize_keep_it_waiting_and_leave_nothing_behind() -> None:
    peer = configured()
    for now in range(1000):
        request = peer.call("Synchronize", api.SynchronizeRequest(more=True), float(now))
        peer.session.synchronized(request.stream, (), more=True, now=float(now))
        peer.collect()
        assert not peer.session.waiting
        assert peer.session.next_deadline() == now + REGISTRATION_TIMEOUT
    assert peer.session.state is State.SYNCHRONIZING


def test_a_refused_registration_closes_with_the_runtimes_reason() -> None:
    peer = Peer()
    peer.open()
    with pytest.raises(RegistrationRefused, match="invalid plugin index"):
        peer.answer_registration(refusal="invalid plugin index")
    assert peer.session.state is State.CLOSED
    assert peer.session.next_deadline() is None


# -- silence


def opened(now: float) -> Peer:
    peer = Peer()
    peer.open(now)
    return peer


@pytest.mark.parametrize(
    ("make", "state"),
    [(opened, State.REGISTERING), (registered, State.CONFIGURING), (configured, State.SYNCHRONIZING)],
)
def test_a_runtime_that_falls_silent_in_the_handshake_is_given_up(make: Callable[[float], Peer], state: State) -> None:
    session = make(100.0).session
    assert session.state is state
    deadline = session.next_deadline()
    assert deadline == 100.0 + REGISTRATION_TIMEOUT
    assert session.tick(deadline - 0.001) == []
    with pytest.raises(Silent, match=state.value):
        session.tick(deadline)
    assert session.state is State.CLOSED
    assert session.next_deadline() is None
    assert session.tick(deadline + 100) == []


def test_a_synchronized_runtime_may_be_silent_for_ever() -> None:
    session = ready().session
    assert session.next_deadline() is None
    assert session.tick(1e9) == []


@pytest.mark.parametrize("step", Step)
def test_while_we_are_at_a_step_it_is_not_the_runtime_that_is_silent(step: Step) -> None:
    peer = registered(0.0) if step is Step.CONFIGURE else configured(0.0)
    late = REGISTRATION_TIMEOUT - 0.1
    request = peer.call(step.value, b"", late)
    assert peer.session.next_deadline() == request.deadline == late + 1.0
    assert peer.session.tick(late + 0.9) == []
    assert peer.session.tick(late + 1.0) == [request]


@pytest.mark.parametrize("step", Step)
def test_after_a_refused_step_the_runtimes_silence_counts(step: Step) -> None:
    peer = registered(0.0) if step is Step.CONFIGURE else configured(0.0)
    request = peer.call(step.value, b"", 1.0)
    peer.session.refuse(request.stream, Code.INTERNAL, "no")
    deadline = peer.session.next_deadline()
    assert deadline is not None
    with pytest.raises(Silent):
        peer.session.tick(deadline)
