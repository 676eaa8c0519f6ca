"""A whole link: any bytes cut in any way, and two links joined back to back."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nri_cdi.testing import strategies
from nri_cdi.ttrpc import (
    PLUGIN_CONNECTION,
    RUNTIME_CONNECTION,
    AnswerReceived,
    CallReceived,
    Code,
    Link,
    LocalProtocolError,
    RemoteProtocolError,
    Rule,
    State,
    Status,
    Truncated,
    frames,
    mux,
)
from nri_cdi.ttrpc.messages import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nri_cdi.ttrpc import Event


def plugin() -> Link:
    """A plugin's link that waits for two answers, so that a peer may send any message."""
    link = Link()
    link.call("nri.Runtime", "RegisterPlugin", b"")
    link.call("nri.Runtime", "UpdateContainers", b"")
    return link


def runtime() -> Link:
    return Link(serves=RUNTIME_CONNECTION, calls=PLUGIN_CONNECTION)


def outcome(pieces: Iterable[bytes]) -> tuple[list[Event] | Rule, str]:
    """What a plugin makes of the pieces: the events, or the rule that was broken; and its state."""
    link, events = plugin(), []
    try:
        for piece in pieces:
            events += link.receive(piece)
    except RemoteProtocolError as error:
        return error.rule, repr(link.state)
    return events, repr(link.state)


@given(strategies.peer_bytes)
def test_nothing_but_a_remote_protocol_error_comes_of_any_bytes(data: bytes) -> None:
    outcome([data])


@given(st.data())
def test_it_makes_no_difference_how_the_bytes_are_cut(data: st.DataObject) -> None:
    wire = data.draw(strategies.peer_bytes)
    whole = outcome([wire])
    assert outcome(data.draw(strategies.cuts(wire))) == whole
    assert outcome(wire[at : at + 1] for at in range(len(wire))) == whole


def test_a_synchronize_of_nine_megabytes_arrives_in_reads_of_64_kilobytes() -> None:
    payload = bytes(9_000_000)
    link = Link()
    data = b"\x0a\x01s\x12\x01m\x1a" + b"\xc0\xa8\xa5\x04" + payload
    header = len(data).to_bytes(4) + b"\x00\x00\x00\x01\x01\x00"
    stream = header + data
    wire = mux.encode(PLUGIN_CONNECTION, [stream[at : at + 4096] for at in range(0, len(stream), 4096)])
    events = [event for at in range(0, len(wire), 65536) for event in link.receive(wire[at : at + 65536])]
    assert events == [CallReceived(1, "s", "m", payload, 0, ())]


def test_a_plugin_calls_on_connection_2_and_answers_on_connection_1() -> None:
    link, peer = Link(), runtime()
    stream, data = link.call("s", "m", b"x")
    assert stream == 1
    request = b"\x0a\x01s\x12\x01m\x1a\x01x"
    assert data == (
        b"\x00\x00\x00\x02\x00\x00\x00\x0a"
        b"\x00\x00\x00\x09\x00\x00\x00\x01\x01\x00"
        b"\x00\x00\x00\x02\x00\x00\x00\x09" + request
    )  # fmt: skip
    link.receive(peer.call("s", "m", b"")[1])
    assert link.answer(1, b"") == b"\x00\x00\x00\x01\x00\x00\x00\x0a\x00\x00\x00\x00\x00\x00\x00\x01\x02\x00"


def test_the_two_directions_have_stream_ids_of_their_own() -> None:
    left, right = Link(), runtime()
    to_right, to_left = left.call("s", "up", b"")[1], right.call("s", "down", b"")[1]
    assert right.receive(to_right) == [CallReceived(1, "s", "up", b"", 0, ())]
    assert left.receive(to_left) == [CallReceived(1, "s", "down", b"", 0, ())]
    assert left.receive(right.refuse(1, Code.UNIMPLEMENTED, "no")) == [
        AnswerReceived(1, None, Status(Code.UNIMPLEMENTED, "no"))
    ]
    assert (left.open_calls, left.pending) == ((1,), ())
    assert right.receive(left.answer(1, b"yes")) == [AnswerReceived(1, b"yes", Status())]


def test_a_call_has_exactly_one_answer() -> None:
    left, right = Link(), runtime()
    left.receive(right.call("s", "m", b"")[1])
    left.answer(1, b"")
    with pytest.raises(LocalProtocolError, match="no call is open"):
        left.answer(1, b"")
    with pytest.raises(LocalProtocolError, match="no call is open"):
        left.refuse(1, Code.INTERNAL, "late")


@pytest.mark.parametrize(("serves", "calls"), [(1, 1), (0, 2), (1, 0)])
def test_a_link_has_two_connections_and_neither_is_the_reserved_one(serves: int, calls: int) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        Link(serves, calls)
    assert caught.value.rule is Rule.CONNECTION_ID


# -- two links, back to back


@dataclass(frozen=True)
class Call:
    request: Request


@dataclass(frozen=True)
class Reply:
    pick: int
    """Which of the open calls, modulo their number."""
    reply: bytes | Status


@dataclass(frozen=True)
class Take:
    size: int
    """How much of what the other side has written is read."""


@dataclass
class Side:
    """One end: its link, what it has written that the other has not read, and what became of the calls."""

    link: Link
    out: bytes = b""
    asked: dict[int, Request] = field(default_factory=dict)
    seen: dict[int, Request] = field(default_factory=dict)
    given: dict[int, bytes | Status] = field(default_factory=dict)
    answers: list[tuple[int, bytes | Status]] = field(default_factory=list)

    def do(self, step: Call | Reply | Take, other: Side) -> None:
        match step:
            case Call(request):
                self.call(request)
            case Reply(pick, reply):
                self.reply(pick, reply)
            case Take(size):
                self.take(other, size)

    def call(self, request: Request) -> None:
        stream, data = self.link.call(
            request.service,
            request.method,
            request.payload,
            timeout_nano=request.timeout_nano,
            metadata=request.metadata,
        )
        self.asked[stream] = request
        self.out += data

    def reply(self, pick: int, reply: bytes | Status) -> None:
        if not self.link.open_calls:
            return
        stream = self.link.open_calls[pick % len(self.link.open_calls)]
        self.given[stream] = reply
        if isinstance(reply, bytes):
            self.out += self.link.answer(stream, reply)
        else:
            self.out += self.link.refuse(stream, reply.code, reply.message)

    def take(self, other: Side, size: int) -> None:
        data, other.out = other.out[:size], other.out[size:]
        for event in self.link.receive(data):
            match event:
                case CallReceived(stream, service, method, payload, timeout_nano, metadata):
                    self.seen[stream] = Request(service, method, payload, timeout_nano, metadata)
                case AnswerReceived(stream, payload, status):
                    self.answers.append((stream, status if payload is None else payload))
                case _:
                    pytest.fail(f"{event} from a right peer")


_steps = st.one_of(
    st.builds(Call, strategies.requests),
    st.builds(Reply, st.integers(0, 9), st.one_of(strategies.payloads, strategies.refusals)),
    st.builds(Take, st.integers(0, 6000)),
)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.booleans(), _steps), max_size=30))
def test_every_call_in_either_direction_gets_its_one_answer(steps: list[tuple[bool, Call | Reply | Take]]) -> None:
    left, right = Side(Link()), Side(runtime())
    for is_left, step in steps:
        if is_left:
            left.do(step, right)
        else:
            right.do(step, left)
    # then all calls arrive, all that are open are answered, and all answers arrive
    for one, other in ((left, right), (right, left)):
        one.take(other, len(other.out))
    for one in (left, right):
        while one.link.open_calls:
            one.reply(0, b"last")
    for one, other in ((left, right), (right, left)):
        one.take(other, len(other.out))
    for one, other in ((left, right), (right, left)):
        assert other.seen == one.asked
        assert sorted(stream for stream, _ in one.answers) == sorted(one.asked)
        assert dict(one.answers) == other.given
        assert not one.link.pending


# -- the end


def wire_message(connection: int, stream: int, kind: int, data: bytes) -> bytes:
    """A ttrpc message in its two frames, made here by hand."""
    header = len(data).to_bytes(4) + stream.to_bytes(4) + bytes([kind, 0])
    pieces = [header, data] if data else [header]
    return b"".join(connection.to_bytes(4) + len(piece).to_bytes(4) + piece for piece in pieces)


CONVERSATION = (
    wire_message(1, 1, 1, b"\x0a\x0anri.Plugin\x12\x09Configure"),
    wire_message(2, 1, 2, b""),
    wire_message(2, 3, 2, b"\x12\x03yes"),
)
"""What a runtime may send to `plugin()`: a call and the two answers."""

MESSAGE_ENDS = (0, *accumulate(len(message) for message in CONVERSATION))


@pytest.mark.parametrize("end", MESSAGE_ENDS)
def test_a_close_between_two_messages_is_clean(end: int) -> None:
    link = plugin()
    link.receive(b"".join(CONVERSATION)[:end])
    link.eof()
    assert link.state is State.CLOSED


@pytest.mark.parametrize("end", sorted({*range(MESSAGE_ENDS[-1])} - {*MESSAGE_ENDS}))
def test_a_close_at_any_other_byte_is_the_peers_error(end: int) -> None:
    link = plugin()
    link.receive(b"".join(CONVERSATION)[:end])
    with pytest.raises(Truncated) as caught:
        link.eof()
    following = next(clean for clean in MESSAGE_ENDS if clean > end)
    assert 0 < caught.value.missing <= following - end
    assert link.state is State.FAILED


def test_a_close_inside_a_message_says_how_many_bytes_are_missing() -> None:
    link = Link()
    link.receive(mux.encode(1, frames.encode(1, frames.MessageType.REQUEST, bytes(5000)))[:-7])
    with pytest.raises(Truncated, match="7 bytes short"):
        link.eof()


def test_a_close_between_the_two_frames_of_a_message_is_inside_it() -> None:
    link = Link()
    link.receive(mux.encode(1, frames.encode(1, frames.MessageType.REQUEST, bytes(50))[:1]))
    with pytest.raises(Truncated, match="50 bytes short"):
        link.eof()


VERBS: dict[str, Callable[[Link], object]] = {
    "receive": lambda link: link.receive(b""),
    "call": lambda link: link.call("s", "m", b""),
    "answer": lambda link: link.answer(1, b""),
    "refuse": lambda link: link.refuse(1, 2, ""),
    "eof": lambda link: link.eof(),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_closed_link_does_nothing_any_more(verb: str) -> None:
    link = Link()
    link.receive(runtime().call("s", "m", b"")[1])
    link.eof()
    with pytest.raises(LocalProtocolError, match=f"{verb} on a link that has closed") as caught:
        VERBS[verb](link)
    assert caught.value.rule is Rule.CLOSED


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    "wrong", [wire_message(7, 1, 1, b"x"), wire_message(1, 2, 1, b"x")], ids=["multiplexer", "ttrpc"]
)
def test_a_failed_link_does_nothing_any_more(verb: str, wrong: bytes) -> None:
    link = Link()
    link.receive(runtime().call("s", "m", b"")[1])
    with pytest.raises(RemoteProtocolError):
        link.receive(wrong)
    with pytest.raises(LocalProtocolError, match=f"{verb} on a link that has failed") as caught:
        VERBS[verb](link)
    assert caught.value.rule is Rule.CLOSED


def test_the_repr_tells_the_state() -> None:
    link = plugin()
    assert repr(link) == "<Link open, 0 events received, 0 calls open, 2 pending>"
    link.receive(b"".join(CONVERSATION))
    assert repr(link) == "<Link open, 3 events received, 1 calls open, 0 pending>"


def test_errors_say_what_happened_and_which_rule_it_broke() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        Link().receive(mux.encode(7, [b"x"]))
    assert str(caught.value) == "the peer sent a frame for connection 7; there are [1, 2] (connection-id)"
