"""NRI's multiplexer: several connections on one socket (upstream's pkg/net/multiplex).

    connection id u32 | length u32 | length bytes of the connection's stream      big endian

A frame is not a message: it is a piece of the connection's stream, wherever the sender happened to cut it. So
receiving joins.

Sending has to think of the peer's reader, which is less free than its protocol. Go's multiplexer hands a whole frame
to a read of at most the size of its reader's buffer, 4096 bytes, or of the rest of the message if that is larger; a
frame that does not fit breaks the link. And frames that nobody has read yet fill a queue of 256, which breaks it too.
What is safe at any size: the header of a message in one frame, all of its data in the next. That is what `encode`
makes of the two pieces it is given.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from nri_cdi.ttrpc import frames
from nri_cdi.ttrpc.errors import RemoteProtocolError, Rule

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

PLUGIN_CONNECTION: Final = 1
"""The connection on which the runtime calls the plugin (service Plugin)."""

RUNTIME_CONNECTION: Final = 2
"""The connection on which the plugin calls the runtime (service Runtime)."""

HEADER_SIZE: Final = 8
"""Bytes before each frame's piece of the stream."""

FRAME_MAX: Final = frames.HEADER_SIZE + frames.RECEIVE_MAX
"""The longest frame we receive, in bytes: no sender makes one longer than a message and its header."""

_HEADER: Final = struct.Struct(">II")


def encode(connection: int, pieces: Iterable[bytes]) -> bytes:
    """The bytes to write: a frame for each piece. Never join the pieces of a message before (see above)."""
    return b"".join(_HEADER.pack(connection, len(piece)) + piece for piece in pieces)


class FrameReader:
    """Takes frames apart into pieces of the streams of its `connections`. It holds at most half a header."""

    __slots__ = ("_connection", "_connections", "_header", "_left")

    def __init__(self, connections: Collection[int]) -> None:
        self._connections = connections
        self._header = b""
        self._connection = 0
        self._left = 0

    def receive(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """(connection id, piece of its stream) in order, pieces never empty; take them all.

        Raises RemoteProtocolError for a frame above FRAME_MAX, and for a connection that is none of ours. Upstream
        drops frames of connections that it has not opened. Here they end the link: containerd opens these two and no
        other, so such an id is a sign that we lost our place, and who has lost its place waits for ever, while who
        connects again is back in milliseconds.
        """
        at, end = 0, len(data)
        while at < end:
            if self._left == 0:
                start, at = at, at + HEADER_SIZE - len(self._header)
                self._header += data[start:at]
                if len(self._header) == HEADER_SIZE:
                    self._begin_frame()
            else:
                piece = data[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                yield self._connection, piece

    def _begin_frame(self) -> None:
        self._connection, self._left = _HEADER.unpack(self._header)
        self._header = b""
        if self._connection not in self._connections:
            raise RemoteProtocolError(
                Rule.CONNECTION_ID,
                f"the peer sent a frame for connection {self._connection}; there are {sorted(self._connections)}",
            )
        if self._left > FRAME_MAX:
            raise RemoteProtocolError(
                Rule.FRAME_LENGTH, f"the peer announces a frame of {self._left} bytes; at most {FRAME_MAX} are taken"
            )

    @property
    def missing(self) -> int:
        """How many bytes the unfinished header or frame still needs; 0 between two frames."""
        return HEADER_SIZE - len(self._header) if self._header else self._left
