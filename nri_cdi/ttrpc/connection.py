"""One ttrpc connection as a state machine: bytes in, events out; calls and answers in, bytes out.

Each call has a stream of its own, and each stream passes its row once. What is not in the table is an error of
whoever tried it.

| stream opened by | this side sends            | this side receives                 | before  | after   |
| ---------------- | -------------------------- | ---------------------------------- | ------- | ------- |
| us               | request, ids 1, 3, 5 ...   |                                    | idle    | pending |
| us               |                            | response                           | pending | done    |
| the peer         |                            | request, odd id above all before   | idle    | open    |
| the peer         | response (answer, refuse)  |                                    | open    | done    |

Where upstream is more lenient, and why we are not: its server answers INVALID_ARGUMENT on an even or used stream id,
and for a data message on no stream; it ignores types it does not know; its client ignores responses on streams it has
given up. No Go client sends such a thing on a connection that has unary calls only, and a call is not given up here.
So it can only mean that the peer has lost count, and an answer on a stream that is used twice could be taken for the
answer to another call. Upstream's server does not look at the flags of a request or response of a unary call; neither
do we.

No threads, no clocks: who uses it from several threads holds a lock.
"""

from __future__ import annotations

from enum import Flag, auto
from typing import TYPE_CHECKING, Final

from nri_cdi.ttrpc import frames, messages
from nri_cdi.ttrpc.errors import LocalProtocolError, RemoteProtocolError, Rule, Truncated
from nri_cdi.ttrpc.events import AnswerReceived, CallReceived, UnreadableCallReceived
from nri_cdi.ttrpc.frames import MessageType
from nri_cdi.ttrpc.lifecycle import State, require_open
from nri_cdi.ttrpc.status import Code, Status

if TYPE_CHECKING:
    from nri_cdi.ttrpc.events import Event

REFUSAL_TEXT_MAX: Final = 64 << 10
"""The longest text of a refusal, in characters; the rest is cut off.

A refusal that does not fit into a message could not be sent, and nobody reads as much.
"""

_STREAM_MAX: Final = (1 << 32) - 1


class Role(Flag):
    """What a connection does: answer the peer's calls, call the peer, or both."""

    SERVES = auto()
    CALLS = auto()


_RECEIVED_BY: Final[dict[int, Role]] = {MessageType.REQUEST: Role.SERVES, MessageType.RESPONSE: Role.CALLS}
"""The role that receives each type of message. Data messages are for streaming methods; there are none here."""


class Connection:
    """One connection in the given role. Without a multiplexer below, join the pieces that its methods return."""

    __slots__ = ("_last_received", "_last_sent", "_open", "_pending", "_reader", "_role", "_state", "_takes")

    def __init__(self, role: Role) -> None:
        self._role = role
        self._takes = frozenset(kind for kind, receiver in _RECEIVED_BY.items() if receiver in role)
        self._state = State.OPEN
        self._reader = frames.MessageReader()
        # dictionaries for their order, oldest first
        self._open: dict[int, None] = {}
        self._pending: dict[int, None] = {}
        self._last_received = 0
        self._last_sent = -1

    @property
    def state(self) -> State:
        """Whether it still works; see `lifecycle`."""
        return self._state

    @property
    def open_calls(self) -> tuple[int, ...]:
        """The streams of the peer's calls that are not answered yet, oldest first."""
        return tuple(self._open)

    @property
    def pending(self) -> tuple[int, ...]:
        """The streams of our calls that are not answered yet, oldest first."""
        return tuple(self._pending)

    @property
    def missing(self) -> int:
        """How many bytes, at least, an unfinished message still needs; 0 between two messages."""
        return self._reader.missing

    def receive(self, data: bytes) -> list[Event]:
        """What `data` brought, in order. How the stream was cut into pieces makes no difference.

        Raises RemoteProtocolError at a wrong byte, and the connection has failed. Calls that the same piece brought
        before it are not delivered: nobody can answer them any more. Raises LocalProtocolError when the connection
        had ended before.
        """
        require_open(self._state, "receive")
        try:
            return [self._event(message) for message in self._reader.receive(data)]
        except RemoteProtocolError:
            self._state = State.FAILED
            raise

    def eof(self) -> None:
        """The peer has closed the stream. Raises Truncated inside a message; calls still pending get no answer."""
        require_open(self._state, "eof")
        if self.missing:
            self._state = State.FAILED
            raise Truncated(self.missing)
        self._state = State.CLOSED

    def call(
        self,
        service: str,
        method: str,
        payload: bytes,
        *,
        timeout_nano: int = 0,
        metadata: tuple[tuple[str, str], ...] = (),
    ) -> tuple[int, list[bytes]]:
        """Call the peer: the stream whose AnswerReceived will come, and the pieces to send.

        `timeout_nano` tells the peer how long we will wait, in nanoseconds; 0 says nothing. Nothing here counts the
        time. Raises LocalProtocolError (a server, an ended connection, a value that the wire cannot carry) and
        MessageTooLarge.
        """
        self._require(Role.CALLS, "call")
        stream = self._last_sent + 2
        if stream > _STREAM_MAX:
            raise LocalProtocolError(Rule.STREAM_ID, "all stream ids of this connection are used; connect again")
        request = messages.Request(service, method, payload, timeout_nano, metadata)
        pieces = frames.encode(stream, MessageType.REQUEST, messages.encode_request(request))
        self._last_sent = stream
        self._pending[stream] = None
        return stream, pieces

    def answer(self, stream: int, payload: bytes) -> list[bytes]:
        """Answer the peer's call `stream`: the pieces to send.

        Raises LocalProtocolError when that call is not open (never received, or answered already: exactly one answer
        a call), and MessageTooLarge, after which the call is still open.
        """
        return self._respond(stream, messages.Response(payload=payload), "answer")

    def refuse(self, stream: int, code: int, message: str) -> list[bytes]:
        """Answer the peer's call `stream` with an error: the pieces to send. `code` is a gRPC code other than OK.

        `message` is cut off after REFUSAL_TEXT_MAX characters. Raises LocalProtocolError as `answer` does, and for
        code OK.
        """
        if code == Code.OK:
            raise LocalProtocolError(Rule.VALUE, f"a refusal of stream {stream} with the code OK would be an answer")
        return self._respond(stream, messages.Response(Status(code, message[:REFUSAL_TEXT_MAX])), "refuse")

    def _respond(self, stream: int, response: messages.Response, verb: str) -> list[bytes]:
        self._require(Role.SERVES, verb)
        if stream not in self._open:
            raise LocalProtocolError(
                Rule.STREAM_ID,
                f"{verb} on stream {stream}, on which no call is open: it has its answer, or never called",
            )
        pieces = frames.encode(stream, MessageType.RESPONSE, messages.encode_response(response))
        del self._open[stream]
        return pieces

    def _require(self, role: Role, verb: str) -> None:
        require_open(self._state, verb)
        if role not in self._role:
            raise LocalProtocolError(Rule.ROLE, f"{verb} on a connection that has only the role {self._role.name}")

    def _event(self, message: frames.Message) -> Event:
        if message.type not in self._takes:
            raise RemoteProtocolError(
                Rule.MESSAGE_TYPE,
                f"the peer sent a message of type {message.type} on stream {message.stream}; "
                f"a connection with the role {self._role.name} takes none",
            )
        return self._request(message) if message.type == MessageType.REQUEST else self._response(message)

    def _request(self, message: frames.Message) -> Event:
        stream = message.stream
        if stream % 2 == 0 or stream <= self._last_received:
            raise RemoteProtocolError(
                Rule.STREAM_ID,
                f"the peer called on stream {stream}; an odd number above {self._last_received} has to come",
            )
        self._last_received = stream
        self._open[stream] = None
        try:
            request = messages.decode_request(message.data)
        except RemoteProtocolError as error:
            return UnreadableCallReceived(stream, error.detail)
        return CallReceived(
            stream, request.service, request.method, request.payload, request.timeout_nano, request.metadata
        )

    def _response(self, message: frames.Message) -> Event:
        stream = message.stream
        if stream not in self._pending:
            raise RemoteProtocolError(
                Rule.STREAM_ID, f"the peer answered on stream {stream}, on which no call is pending"
            )
        response = messages.decode_response(message.data)
        del self._pending[stream]
        payload = response.payload if response.status.code == Code.OK else None
        return AnswerReceived(stream, payload, response.status)

    def __repr__(self) -> str:
        return (
            f"<Connection {self._role.name} {self._state.value}, {len(self._open)} open, {len(self._pending)} pending>"
        )
