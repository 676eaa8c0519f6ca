"""ttrpc messages on a byte stream: a header of 10 bytes, then the data (upstream's PROTOCOL.md, "Message Frame").

    length u32 | stream id u32 | type u8 | flags u8      big endian; the length does not count the header

Where a read ends says nothing: a message may come in many pieces and many messages in one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from nri_cdi.ttrpc.errors import MessageTooLarge, RemoteProtocolError, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER_SIZE: Final = 10
"""Bytes before the data of each message."""

SEND_MAX: Final = 4 << 20
"""The longest data we send, in bytes: what Go's reader takes. It throws away a longer message."""

RECEIVE_MAX: Final = 16 << 20
"""The longest data we receive, in bytes. More than upstream's 4 MiB, because containerd 1.7 puts the Synchronize of a
full node into one message (9 MB seen); and no more, because the first byte of a header is reserved as zero, so a
longer one means that we lost our place."""

_HEADER: Final = struct.Struct(">IIBB")


class MessageType(IntEnum):
    """The types of ttrpc messages. Unary calls, which is all that NRI has, use the first two."""

    REQUEST = 1
    RESPONSE = 2
    DATA = 3


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message. `type` may be one that `MessageType` does not know."""

    stream: int
    type: int
    flags: int
    data: bytes


def encode(stream: int, message_type: MessageType, data: bytes) -> list[bytes]:
    """The pieces to send: the header, then the data unless it is empty. No flags: unary calls have none.

    They are two pieces because the multiplexer has to keep them apart (see `mux`); without it, join them. Raises
    MessageTooLarge above SEND_MAX.
    """
    if len(data) > SEND_MAX:
        raise MessageTooLarge(len(data), SEND_MAX)
    header = _HEADER.pack(len(data), stream, message_type, 0)
    return [header, data] if data else [header]


class MessageReader:
    """Makes messages of the pieces of a byte stream. It holds one unfinished message at most."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive(self, data: bytes) -> Iterator[Message]:
        """The messages that `data` completes, in order; take them all.

        Raises RemoteProtocolError at a header with a length above RECEIVE_MAX, before its data comes. Then the reader
        has lost its place.
        """
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) - at >= HEADER_SIZE:
            length, stream, message_type, flags = _HEADER.unpack_from(buffer, at)
            if length > RECEIVE_MAX:
                raise RemoteProtocolError(
                    Rule.MESSAGE_LENGTH,
                    f"the peer announces a message of {length} bytes; at most {RECEIVE_MAX} are taken",
                )
            start = at + HEADER_SIZE
            end = start + length
            if end > len(buffer):
                break
            yield Message(stream, message_type, flags, bytes(buffer[start:end]))
            at = end
        del buffer[:at]

    @property
    def missing(self) -> int:
        """How many bytes the unfinished message, or its header, still needs; 0 between two messages."""
        have = len(self._buffer)
        if have == 0:
            return 0
        if have < HEADER_SIZE:
            return HEADER_SIZE - have
        length: int = _HEADER.unpack_from(self._buffer)[0]
        return HEADER_SIZE + length - have
