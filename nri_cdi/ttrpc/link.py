"""A link between a runtime and a plugin: the multiplexer and its two ttrpc connections on one byte stream.

Each side serves one connection and calls on the other. So a stream id is clear without its connection: the streams of
calls received are of the one, the streams of calls made of the other.

Not for several threads at once: who shares a link holds a lock, from the bytes' making to their writing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nri_cdi.ttrpc import mux
from nri_cdi.ttrpc.connection import Connection, Role
from nri_cdi.ttrpc.errors import LocalProtocolError, RemoteProtocolError, Rule, Truncated
from nri_cdi.ttrpc.lifecycle import State, require_open
from nri_cdi.ttrpc.mux import PLUGIN_CONNECTION, RUNTIME_CONNECTION

if TYPE_CHECKING:
    from nri_cdi.ttrpc.events import Event


class Link:
    """A link that answers calls on the connection `serves` and makes its own on `calls`: as it stands a plugin's,
    exchanged a runtime's.

    The methods and errors are those of `Connection`; what is to be sent comes framed for the multiplexer. Raises
    LocalProtocolError for two equal connection ids, and for 0, which is reserved.
    """

    __slots__ = ("_caller", "_calls", "_connections", "_frames", "_received", "_server", "_serves", "_state")

    def __init__(self, serves: int = PLUGIN_CONNECTION, calls: int = RUNTIME_CONNECTION) -> None:
        if serves == calls or 0 in (serves, calls):
            raise LocalProtocolError(
                Rule.CONNECTION_ID, f"a link needs two connection ids above 0, not {serves} and {calls}"
            )
        self._serves = serves
        self._calls = calls
        self._server = Connection(Role.SERVES)
        self._caller = Connection(Role.CALLS)
        self._connections = {serves: self._server, calls: self._caller}
        self._frames = mux.FrameReader(self._connections)
        self._state = State.OPEN
        self._received = 0

    @property
    def state(self) -> State:
        """Whether the link still works; see `lifecycle`."""
        return self._state

    @property
    def open_calls(self) -> tuple[int, ...]:
        """The streams of the peer's calls that are not answered yet, oldest first."""
        return self._server.open_calls

    @property
    def pending(self) -> tuple[int, ...]:
        """The streams of our calls that are not answered yet, oldest first."""
        return self._caller.pending

    def receive(self, data: bytes) -> list[Event]:
        """What `data` brought, in order. See `Connection.receive`; a RemoteProtocolError ends both connections."""
        require_open(self._state, "receive")
        events: list[Event] = []
        try:
            for connection, piece in self._frames.receive(data):
                events += self._connections[connection].receive(piece)
        except RemoteProtocolError:
            self._state = State.FAILED
            raise
        self._received += len(events)
        return events

    def eof(self) -> None:
        """The peer has closed the stream. Raises Truncated inside a frame or message; calls pending get no answer."""
        require_open(self._state, "eof")
        missing = max(self._frames.missing, self._server.missing + self._caller.missing)
        if missing:
            self._state = State.FAILED
            raise Truncated(missing)
        self._state = State.CLOSED

    def call(
        self,
        service: str,
        method: str,
        payload: bytes,
        *,
        timeout_nano: int = 0,
        metadata: tuple[tuple[str, str], ...] = (),
    ) -> tuple[int, bytes]:
        """Call the peer: the stream whose AnswerReceived will come, and the bytes to write. See `Connection.call`."""
        require_open(self._state, "call")
        stream, pieces = self._caller.call(service, method, payload, timeout_nano=timeout_nano, metadata=metadata)
        return stream, mux.encode(self._calls, pieces)

    def answer(self, stream: int, payload: bytes) -> bytes:
        """Answer the peer's call `stream`, once: the bytes to write. See `Connection.answer`."""
        require_open(self._state, "answer")
        return mux.encode(self._serves, self._server.answer(stream, payload))

    def refuse(self, stream: int, code: int, message: str) -> bytes:
        """Answer the peer's call `stream` with an error, once: the bytes to write. See `Connection.refuse`."""
        require_open(self._state, "refuse")
        return mux.encode(self._serves, self._server.refuse(stream, code, message))

    def __repr__(self) -> str:
        return (
            f"<Link {self._state.value}, {self._received} events received, "
            f"{len(self.open_calls)} calls open, {len(self.pending)} pending>"
        )
