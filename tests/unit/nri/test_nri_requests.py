"""A session's requests: deadlines, what is answered without the plugin, and exactly one answer for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nri_cdi.nri import Event, State, api
from nri_cdi.nri.events import METHODS, PLUGIN_SERVICE
from nri_cdi.testing.session import SECOND, configured, ready
from nri_cdi.ttrpc import PLUGIN_CONNECTION, Code, RemoteProtocolError, frames, mux

if TYPE_CHECKING:
    from nri_cdi.nri import Request


@pytest.mark.parametrize(
    ("timeout_nano", "seconds"),
    [(2 * SECOND, 1.0), (500_000_000, 0.25), (1_000_000, 0.0005), (1, 5e-10), (0, 1.0), (-SECOND, 1.0)],
)
def test_our_own_deadline_is_half_of_the_runtimes_however_short_that_is(timeout_nano: int, seconds: float) -> None:
    peer = ready()
    request = peer.create(0.0, timeout_nano)
    assert request.deadline == pytest.approx(seconds)
    assert peer.session.next_deadline() == request.deadline
    assert peer.session.tick(request.deadline) == [request]


def test_the_next_deadline_is_the_earliest_of_all() -> None:
    peer = ready()
    slow, quick = peer.create(0.0, 20 * SECOND), peer.create(1.0, 2 * SECOND)
    assert peer.session.next_deadline() == quick.deadline
    peer.session.answer(quick.stream, b"")
    assert peer.session.next_deadline() == slow.deadline


def test_an_overdue_request_is_answered_once_and_the_late_answer_is_dropped() -> None:
    peer = ready()
    request = peer.create()
    assert peer.session.tick(1.0) == [request]
    assert peer.session.refuse(request.stream, Code.DEADLINE_EXCEEDED, "too late")
    assert not peer.session.answer(request.stream, b"late")
    assert not peer.session.refuse(request.stream, Code.INTERNAL, "later")
    assert peer.session.tick(100.0) == []
    peer.collect()
    assert peer.answers[request.stream].status.code == Code.DEADLINE_EXCEEDED


def test_a_request_that_was_answered_is_not_overdue() -> None:
    peer = ready()
    request = peer.create()
    assert peer.session.answer(request.stream, b"")
    assert peer.session.tick(100.0) == []


def test_an_answer_after_the_close_is_dropped() -> None:
    peer = ready()
    request, other = peer.create(), peer.create()
    peer.session.close()
    assert not peer.session.answer(request.stream, b"")
    assert not peer.session.refuse(other.stream, Code.INTERNAL, "")
    assert peer.session.data_to_send() == b""


def test_an_answer_after_a_wrong_byte_is_dropped() -> None:
    peer = ready()
    request = peer.create()
    with pytest.raises(RemoteProtocolError):
        peer.session.receive(b"\xff" * 8, 0.0)
    assert peer.session.state is State.CLOSED
    assert not peer.session.answer(request.stream, b"")
    assert peer.session.receive(b"more", 0.0) == []
    peer.session.eof()


def test_the_end_of_the_stream_closes_and_within_a_message_it_is_an_error() -> None:
    peer = ready()
    peer.session.eof()
    assert peer.session.state is State.CLOSED
    peer = ready()
    peer.session.receive(b"\x00", 0.0)
    with pytest.raises(RemoteProtocolError):
        peer.session.eof()


def test_an_answer_over_the_limit_becomes_a_refusal() -> None:
    peer = ready()
    request = peer.create()
    assert not peer.session.answer(request.stream, bytes(frames.SEND_MAX + 1))
    peer.collect()
    answer = peer.answers[request.stream]
    assert (answer.payload, answer.status.code) == (None, Code.RESOURCE_EXHAUSTED)
    assert "too large" in answer.status.message


def test_updates_over_the_limit_are_refused_and_do_not_pass_for_synchronized() -> None:
    peer = configured()
    request = peer.call("Synchronize", b"")
    updates = [api.ContainerUpdate(container_id="c" * (1 << 20))] * 5
    peer.session.synchronized(request.stream, updates, more=False, now=0.0)
    peer.collect()
    assert peer.answers[request.stream].status.code == Code.RESOURCE_EXHAUSTED
    assert peer.session.state is State.SYNCHRONIZING
    assert peer.session.next_deadline() is not None


@pytest.mark.parametrize("event", Event)
def test_each_event_is_the_same_by_its_own_method_and_as_a_state_change(event: Event) -> None:
    peer = ready()
    method = next(name for name, of in METHODS.items() if of is event)
    by_rpc = peer.call(method, api.SERVICES[PLUGIN_SERVICE][method][0]())
    by_state_change = peer.call("StateChange", api.StateChangeEvent(event=api.Event.Name(event)))
    assert (by_rpc.what, by_rpc.state_change) == (event, False)
    assert (by_state_change.what, by_state_change.state_change) == (event, True)


@pytest.mark.parametrize("payload", [b"", b"\x08\x00", b"\x08\x0f", b"\x08\x63", b"\x08\x80\x01"])
def test_an_unknown_event_in_a_state_change_is_an_empty_success(payload: bytes) -> None:
    peer = ready()
    stream, requests = peer.called("StateChange", payload)
    peer.collect()
    assert requests == []
    assert peer.answers[stream].payload == b""


@pytest.mark.parametrize(
    ("service", "method", "payload", "code"),
    [
        (PLUGIN_SERVICE, "Shutdown", b"", Code.OK),
        (PLUGIN_SERVICE, "FreezeContainer", b"", Code.UNIMPLEMENTED),
        (PLUGIN_SERVICE, "", b"", Code.UNIMPLEMENTED),
        ("nri.pkg.api.v2.Plugin", "CreateContainer", b"", Code.UNIMPLEMENTED),
        ("nri.pkg.api.v2.Plugin", "StateChange", b"", Code.UNIMPLEMENTED),
        (PLUGIN_SERVICE, "StateChange", b"\x12\x09a", Code.INVALID_ARGUMENT),
    ],
)
def test_what_needs_no_decision_is_answered_at_once(service: str, method: str, payload: bytes, code: Code) -> None:
    peer = ready()
    stream, requests = peer.called(method, payload, service=service)
    peer.collect()
    assert requests == []
    assert peer.answers[stream].status.code == code
    assert not peer.session.waiting


def test_a_call_that_cannot_be_read_is_refused_as_an_invalid_argument() -> None:
    peer = ready()
    stream, _ = peer.link.call(PLUGIN_SERVICE, "CreateContainer", b"")  # so that an answer to it is expected
    data = mux.encode(PLUGIN_CONNECTION, frames.encode(stream, frames.MessageType.REQUEST, b"\xff"))
    assert peer.session.receive(data, 0.0) == []
    peer.collect()
    assert peer.answers[stream].status.code == Code.INVALID_ARGUMENT


ACTIONS = st.one_of(
    st.tuples(st.just("call"), st.integers(1, 4 * SECOND)),
    st.tuples(st.sampled_from(["answer", "refuse", "oversize"]), st.integers(0, 9)),
    st.tuples(st.just("tick"), st.floats(0.0, 2.0)),
)


@given(st.lists(ACTIONS, max_size=30))
def test_however_answers_refusals_and_the_clock_interleave_each_request_has_exactly_one_answer(
    actions: list[tuple[str, float]],
) -> None:
    peer, now = ready(), 0.0
    requests: list[Request] = []
    taken: set[int] = set()
    peer.answers.clear()
    for action, value in actions:
        if action == "call":
            requests.append(peer.create(now, int(value)))
        elif action == "tick":
            now += value
            for overdue in peer.session.tick(now):
                assert overdue.deadline <= now
                assert overdue.stream not in taken
                assert peer.session.refuse(overdue.stream, Code.DEADLINE_EXCEEDED, "")
                taken.add(overdue.stream)
        elif requests:
            stream = requests[int(value) % len(requests)].stream
            if action == "refuse":
                told = peer.session.refuse(stream, Code.INTERNAL, "")
            else:
                told = peer.session.answer(stream, bytes(frames.SEND_MAX + 1) if action == "oversize" else b"")
            assert told == (stream not in taken and action != "oversize")
            taken.add(stream)
        peer.collect()  # raises on a second answer
        assert set(peer.answers) == taken
        assert peer.session.waiting == (len(taken) < len(requests))
