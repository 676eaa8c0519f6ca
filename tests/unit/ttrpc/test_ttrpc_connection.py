"""One ttrpc connection: the table of streams, row by row, and everything that is not in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nri_cdi.ttrpc import (
    AnswerReceived,
    CallReceived,
    Code,
    Connection,
    LocalProtocolError,
    MessageTooLarge,
    RemoteProtocolError,
    Role,
    Rule,
    State,
    Status,
    Truncated,
    UnreadableCallReceived,
    messages,
)
from nri_cdi.ttrpc.connection import REFUSAL_TEXT_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

METADATA = (("containerd-namespace-ttrpc", "k8s.io"),)
REQUEST = messages.encode_request(messages.Request("s", "m", b"p", 2_000_000_000, METADATA))


def message(stream: int, kind: int, data: bytes = b"", flags: int = 0) -> bytes:
    return len(data).to_bytes(4) + stream.to_bytes(4) + bytes([kind, flags]) + data


def pair() -> tuple[Connection, Connection]:
    return Connection(Role.CALLS), Connection(Role.SERVES)


def test_a_call_arrives_with_all_that_it_carries_and_its_answer_comes_back() -> None:
    client, server = pair()
    stream, pieces = client.call("s", "m", b"p", timeout_nano=2_000_000_000, metadata=METADATA)
    assert (stream, client.pending) == (1, (1,))
    assert server.receive(b"".join(pieces)) == [CallReceived(1, "s", "m", b"p", 2_000_000_000, METADATA)]
    assert server.open_calls == (1,)
    assert client.receive(b"".join(server.answer(1, b"yes"))) == [AnswerReceived(1, b"yes", Status())]
    assert [*client.pending, *server.open_calls] == []


def test_a_refusal_comes_back_without_a_payload() -> None:
    client, server = pair()
    server.receive(b"".join(client.call("s", "m", b"")[1]))
    pieces = server.refuse(1, Code.NOT_FOUND, "no such device")
    assert client.receive(b"".join(pieces)) == [AnswerReceived(1, None, Status(Code.NOT_FOUND, "no such device"))]


def test_a_status_code_that_nobody_knows_survives() -> None:
    client, _ = pair()
    client.call("s", "m", b"")
    data = messages.encode_response(messages.Response(Status(4711, "new"), b"unread"))
    assert client.receive(message(1, 2, data)) == [AnswerReceived(1, None, Status(4711, "new"))]


def test_an_empty_answer_is_an_answer() -> None:
    client, server = pair()
    server.receive(b"".join(client.call("s", "m", b"")[1]))
    assert client.receive(b"".join(server.answer(1, b""))) == [AnswerReceived(1, b"", Status())]


def test_streams_count_in_odd_numbers_and_answers_may_come_in_any_order() -> None:
    client, server = pair()
    calls = [client.call("s", "m", b"") for _ in range(3)]
    assert [stream for stream, _ in calls] == [1, 3, 5]
    server.receive(b"".join(piece for _, pieces in calls for piece in pieces))
    assert server.open_calls == (1, 3, 5)
    for stream in (3, 5, 1):
        [event] = client.receive(b"".join(server.answer(stream, b"")))
        assert event.stream == stream
    assert [*client.pending, *server.open_calls] == []


def test_one_connection_can_have_both_roles() -> None:
    left, right = Connection(Role.CALLS | Role.SERVES), Connection(Role.CALLS | Role.SERVES)
    to_right, to_left = left.call("s", "m", b"")[1], right.call("s", "m", b"")[1]
    assert isinstance(right.receive(b"".join(to_right))[0], CallReceived)
    assert isinstance(left.receive(b"".join(to_left))[0], CallReceived)
    assert left.receive(b"".join(right.answer(1, b"r"))) == [AnswerReceived(1, b"r", Status())]
    assert right.receive(b"".join(left.answer(1, b"l"))) == [AnswerReceived(1, b"l", Status())]


def test_a_request_that_is_no_request_is_to_be_refused_and_the_connection_lives() -> None:
    _, server = pair()
    [event] = server.receive(message(1, 1, b"\x0a\x05nri"))
    assert event == UnreadableCallReceived(1, "a protobuf field is 2 bytes longer than its message")
    server.refuse(1, Code.INVALID_ARGUMENT, event.detail)
    assert isinstance(server.receive(message(3, 1, REQUEST))[0], CallReceived)


@pytest.mark.parametrize("flags", [0x01, 0x02, 0x80])
def test_flags_of_unary_messages_are_not_looked_at(flags: int) -> None:
    client, server = pair()
    client.call("s", "m", b"")
    assert isinstance(server.receive(message(1, 1, REQUEST, flags))[0], CallReceived)
    assert isinstance(client.receive(message(1, 2, b"", flags))[0], AnswerReceived)


SERVER_ERRORS = {
    "stream 0": (message(0, 1, REQUEST), Rule.STREAM_ID),
    "even stream": (message(2, 1, REQUEST), Rule.STREAM_ID),
    "open stream": (message(5, 1, REQUEST), Rule.STREAM_ID),
    "answered stream": (message(3, 1, REQUEST), Rule.STREAM_ID),
    "smaller stream": (message(1, 1, REQUEST), Rule.STREAM_ID),
    "response": (message(7, 2), Rule.MESSAGE_TYPE),
    "data": (message(5, 3, b"x"), Rule.MESSAGE_TYPE),
    "type 0": (message(7, 0), Rule.MESSAGE_TYPE),
    "unknown type": (message(7, 4), Rule.MESSAGE_TYPE),
    "too long": (b"\xff\xff\xff\xff" + message(7, 1)[4:], Rule.MESSAGE_LENGTH),
}


@pytest.mark.parametrize(("data", "rule"), SERVER_ERRORS.values(), ids=SERVER_ERRORS)
def test_a_server_ends_at_what_no_client_sends(data: bytes, rule: Rule) -> None:
    server = Connection(Role.SERVES)
    server.receive(message(3, 1, REQUEST) + message(5, 1, REQUEST))
    server.answer(3, b"")
    with pytest.raises(RemoteProtocolError) as caught:
        server.receive(data)
    assert (caught.value.rule, server.state) == (rule, State.FAILED)


CLIENT_ERRORS = {
    "answered stream": (message(1, 2), Rule.STREAM_ID),
    "stream never called": (message(5, 2), Rule.STREAM_ID),
    "stream 0": (message(0, 2), Rule.STREAM_ID),
    "request": (message(3, 1, REQUEST), Rule.MESSAGE_TYPE),
    "data": (message(3, 3, b"x"), Rule.MESSAGE_TYPE),
    "no response": (message(3, 2, b"\x0a"), Rule.PROTOBUF),
}


@pytest.mark.parametrize(("data", "rule"), CLIENT_ERRORS.values(), ids=CLIENT_ERRORS)
def test_a_client_ends_at_what_no_server_sends(data: bytes, rule: Rule) -> None:
    client = Connection(Role.CALLS)
    client.call("s", "m", b"")
    client.call("s", "m", b"")
    client.receive(message(1, 2))
    with pytest.raises(RemoteProtocolError) as caught:
        client.receive(data)
    assert (caught.value.rule, client.state) == (rule, State.FAILED)


MISUSES: dict[str, tuple[Callable[[Connection], object], Rule]] = {
    "answer to a call that never came": (lambda server: server.answer(7, b""), Rule.STREAM_ID),
    "second answer": (lambda server: server.answer(3, b""), Rule.STREAM_ID),
    "refusal after the answer": (lambda server: server.refuse(3, 2, ""), Rule.STREAM_ID),
    "refusal with OK": (lambda server: server.refuse(5, Code.OK, ""), Rule.VALUE),
    "refusal with a code too large": (lambda server: server.refuse(5, 1 << 31, ""), Rule.VALUE),
    "call of a server": (lambda server: server.call("s", "m", b""), Rule.ROLE),
    "answer over the limit": (lambda server: server.answer(5, bytes(4 << 20)), Rule.MESSAGE_LENGTH),
}


@pytest.mark.parametrize(("misuse", "rule"), MISUSES.values(), ids=MISUSES)
def test_misuse_raises_at_once_and_changes_nothing(misuse: Callable[[Connection], object], rule: Rule) -> None:
    server = Connection(Role.SERVES)
    server.receive(message(3, 1, REQUEST) + message(5, 1, REQUEST))
    server.answer(3, b"")
    with pytest.raises(LocalProtocolError) as caught:
        misuse(server)
    assert (caught.value.rule, server.state, server.open_calls) == (rule, State.OPEN, (5,))
    assert server.refuse(5, 2, "still possible")


def test_a_client_does_not_answer() -> None:
    with pytest.raises(LocalProtocolError, match="only the role CALLS") as caught:
        Connection(Role.CALLS).answer(1, b"")
    assert caught.value.rule is Rule.ROLE


def test_a_call_that_cannot_be_sent_uses_no_stream() -> None:
    client = Connection(Role.CALLS)
    with pytest.raises(MessageTooLarge):
        client.call("s", "m", bytes(4 << 20))
    with pytest.raises(LocalProtocolError):
        client.call("\udc80", "m", b"")
    assert client.pending == ()
    assert client.call("s", "m", b"")[0] == 1


def test_after_the_last_stream_id_there_is_no_other() -> None:
    client = Connection(Role.CALLS)
    client._last_sent = 0xFFFFFFFD  # two thousand million calls later
    assert client.call("s", "m", b"")[0] == 0xFFFFFFFF
    with pytest.raises(LocalProtocolError, match="all stream ids") as caught:
        client.call("s", "m", b"")
    assert caught.value.rule is Rule.STREAM_ID


def test_a_refusal_with_a_very_long_text_is_cut_off_and_sent() -> None:
    client, server = pair()
    server.receive(b"".join(client.call("s", "m", b"")[1]))
    [event] = client.receive(b"".join(server.refuse(1, Code.INTERNAL, "\udcff" * (8 << 20))))
    assert isinstance(event, AnswerReceived)
    assert event.status.message == "\\udcff" * REFUSAL_TEXT_MAX


VERBS: dict[str, Callable[[Connection], object]] = {
    "receive": lambda connection: connection.receive(b""),
    "call": lambda connection: connection.call("s", "m", b""),
    "answer": lambda connection: connection.answer(1, b""),
    "refuse": lambda connection: connection.refuse(1, 2, ""),
    "eof": lambda connection: connection.eof(),
}


@pytest.mark.parametrize("verb", VERBS)
def test_after_the_end_nothing_goes(verb: str) -> None:
    connection = Connection(Role.CALLS | Role.SERVES)
    connection.receive(message(1, 1, REQUEST))
    connection.eof()
    with pytest.raises(LocalProtocolError, match=f"{verb} on a link that has closed") as caught:
        VERBS[verb](connection)
    assert (caught.value.rule, connection.state) == (Rule.CLOSED, State.CLOSED)


@pytest.mark.parametrize("verb", VERBS)
def test_after_a_wrong_byte_nothing_goes(verb: str) -> None:
    connection = Connection(Role.CALLS | Role.SERVES)
    connection.receive(message(1, 1, REQUEST))
    with pytest.raises(RemoteProtocolError):
        connection.receive(message(2, 1))
    with pytest.raises(LocalProtocolError, match=f"{verb} on a link that has failed") as caught:
        VERBS[verb](connection)
    assert (caught.value.rule, connection.state) == (Rule.CLOSED, State.FAILED)


def test_an_end_inside_a_message_is_the_peers_error() -> None:
    server = Connection(Role.SERVES)
    server.receive(message(1, 1, REQUEST)[:-3])
    with pytest.raises(Truncated, match="at least 3 bytes short") as caught:
        server.eof()
    assert (caught.value.missing, caught.value.rule, server.state) == (3, Rule.TRUNCATED, State.FAILED)


def test_the_repr_tells_the_state() -> None:
    client, server = pair()
    client.call("s", "m", b"")
    server.eof()
    assert repr(client) == "<Connection CALLS open, 0 open, 1 pending>"
    assert repr(server) == "<Connection SERVES closed, 0 open, 0 pending>"
