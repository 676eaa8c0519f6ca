"""The multiplexer's frames, and what the peer's reader can take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from nri_cdi.testing import strategies
from nri_cdi.ttrpc import PLUGIN_CONNECTION, RUNTIME_CONNECTION, RemoteProtocolError, Rule, frames, mux
from nri_cdi.ttrpc.frames import MessageType

if TYPE_CHECKING:
    from collections.abc import Iterator

GO_BUFFER = 4096
GO_QUEUE = 256


class GoReader:
    """A model of the peer: Go's ttrpc reads through a buffer of 4096 bytes from a connection that hands out whole frames.

    A read is made into the buffer, or past it when the rest of what is wanted is at least as long as the buffer. A frame that is
    longer than what it is read into is lost, and the link with it.
    """

    def __init__(self, wire: bytes) -> None:
        self.frames: dict[int, list[bytes]] = {}
        while wire:
            connection, size = int.from_bytes(wire[:4]), int.from_bytes(wire[4:8])
            self.frames.setdefault(connection, []).append(wire[8 : 8 + size])
            wire = wire[8 + size :]
        assert all(len(queue) <= GO_QUEUE for queue in self.frames.values())

    def messages(self, connection: int) -> Iterator[tuple[bytes, bytes]]:
        """(header, data) of each message on `connection`."""
        queue, buffered = self.frames.get(connection, []), b""

        def read(size: int) -> bytes:
            nonlocal buffered
            got, buffered = buffered[:size], buffered[size:]
            while len(got) < size:
                wanted = size - len(got)
                frame = queue.pop(0)
                assert len(frame) <= max(wanted, GO_BUFFER), "the frame does not fit: the link breaks"
                got, buffered = got + frame[:wanted], frame[wanted:]
            return got

        while queue or buffered:
            header = read(10)
            yield header, read(int.from_bytes(header[:4]))


def test_a_message_makes_exactly_these_bytes() -> None:
    assert mux.encode(2, frames.encode(1, MessageType.REQUEST, b"abc")) == (
        b"\x00\x00\x00\x02\x00\x00\x00\x0a"
        b"\x00\x00\x00\x03\x00\x00\x00\x01\x01\x00"
        b"\x00\x00\x00\x02\x00\x00\x00\x03"
        b"abc"
    )  # fmt: skip


def test_a_message_without_data_is_one_frame() -> None:
    assert mux.encode(1, frames.encode(7, MessageType.RESPONSE, b"")) == (
        b"\x00\x00\x00\x01\x00\x00\x00\x0a"
        b"\x00\x00\x00\x00\x00\x00\x00\x07\x02\x00"
    )  # fmt: skip


@pytest.mark.parametrize("size", [0, 1, 4085, 4086, 4087, 4095, 4096, 4097, 60_000, 4 << 20])
def test_the_peer_can_read_a_message_of_any_size(size: int) -> None:
    data = bytes(size)
    pieces = frames.encode(1, MessageType.RESPONSE, data)
    assert list(GoReader(mux.encode(1, pieces)).messages(1)) == [(pieces[0], data)]


@given(strategies.payloads, strategies.payloads)
def test_the_peer_can_read_one_message_after_the_other(first: bytes, second: bytes) -> None:
    pieces = [frames.encode(stream, MessageType.RESPONSE, data) for stream, data in ((1, first), (3, second))]
    wire = b"".join(mux.encode(1, each) for each in pieces)
    assert list(GoReader(wire).messages(1)) == [(pieces[0][0], first), (pieces[1][0], second)]


def test_the_peer_cannot_read_header_and_data_in_one_large_frame() -> None:
    joined = b"".join(frames.encode(1, MessageType.RESPONSE, bytes(4087)))
    with pytest.raises(AssertionError, match="does not fit"):
        list(GoReader(mux.encode(1, [joined])).messages(1))


def read(data: bytes) -> dict[int, bytes]:
    streams = {PLUGIN_CONNECTION: b"", RUNTIME_CONNECTION: b""}
    for connection, piece in mux.FrameReader(streams).receive(data):
        assert piece
        streams[connection] += piece
    return streams


def test_frames_of_two_connections_are_joined_each_to_its_stream() -> None:
    wire = mux.encode(1, [b"one"]) + mux.encode(2, [b"two", b""]) + mux.encode(1, [b" and one"])
    assert read(wire) == {1: b"one and one", 2: b"two"}


@pytest.mark.parametrize("connection", [0, 3, 0xFFFFFFFF])
def test_a_frame_of_another_connection_is_the_peers_error(connection: int) -> None:
    with pytest.raises(RemoteProtocolError, match=f"connection {connection}; there are") as caught:
        read(mux.encode(connection, [b"x"]))
    assert caught.value.rule is Rule.CONNECTION_ID


def test_a_frame_longer_than_any_message_is_refused_at_its_header() -> None:
    longest = 10 + (16 << 20)
    assert read((1).to_bytes(4) + longest.to_bytes(4) + b"x") == {1: b"x", 2: b""}
    with pytest.raises(RemoteProtocolError, match=f"frame of {longest + 1} bytes") as caught:
        read((1).to_bytes(4) + (longest + 1).to_bytes(4))
    assert caught.value.rule is Rule.FRAME_LENGTH


def test_the_reader_knows_how_much_of_a_frame_is_missing() -> None:
    wire = mux.encode(1, [b"abc"])
    missing = [0, *range(7, 0, -1), 3, 2, 1, 0]  # within the header, the header's rest
    for have, expected in enumerate(missing):
        reader = mux.FrameReader([1])
        list(reader.receive(wire[:have]))
        assert reader.missing == expected, have
