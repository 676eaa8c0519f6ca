"""ttrpc messages on a byte stream."""

import pytest

from nri_cdi.ttrpc import MessageTooLarge, RemoteProtocolError, Rule
from nri_cdi.ttrpc.frames import RECEIVE_MAX, SEND_MAX, Message, MessageReader, MessageType, encode


@pytest.mark.parametrize(
    ("stream", "message_type", "data", "pieces"),
    [
        (1, MessageType.REQUEST, b"abc", [b"\x00\x00\x00\x03\x00\x00\x00\x01\x01\x00", b"abc"]),
        (3, MessageType.RESPONSE, b"", [b"\x00\x00\x00\x00\x00\x00\x00\x03\x02\x00"]),
        (0xFFFFFFFF, MessageType.RESPONSE, b"p" * 0x1234, [b"\x00\x00\x12\x34\xff\xff\xff\xff\x02\x00", b"p" * 0x1234]),
    ],
)
def test_a_message_is_a_header_of_ten_bytes_and_its_data(
    stream: int, message_type: MessageType, data: bytes, pieces: list[bytes]
) -> None:
    assert encode(stream, message_type, data) == pieces
    assert list(MessageReader().receive(b"".join(pieces))) == [Message(stream, message_type, 0, data)]


def test_a_message_of_four_mebibytes_is_sent_and_one_byte_more_is_our_error() -> None:
    assert [len(piece) for piece in encode(1, MessageType.REQUEST, bytes(SEND_MAX))] == [10, 4 << 20]
    with pytest.raises(MessageTooLarge, match="4194305 bytes") as caught:
        encode(1, MessageType.REQUEST, bytes(SEND_MAX + 1))
    assert (caught.value.rule, caught.value.size, caught.value.limit) == (Rule.MESSAGE_LENGTH, SEND_MAX + 1, SEND_MAX)


def test_a_message_of_sixteen_mebibytes_is_received() -> None:
    reader = MessageReader()
    data = bytes(RECEIVE_MAX)
    assert list(reader.receive(b"\x01\x00\x00\x00\x00\x00\x00\x01\x01\x00")) == []
    assert list(reader.receive(data[1:])) == []
    assert reader.missing == 1
    assert list(reader.receive(data[:1])) == [Message(1, 1, 0, data)]


def test_a_longer_message_is_refused_at_its_header_before_its_data() -> None:
    reader = MessageReader()
    header = b"\x01\x00\x00\x01\x00\x00\x00\x01\x01\x00"
    assert list(reader.receive(header[:-1])) == []
    with pytest.raises(RemoteProtocolError, match="16777217 bytes") as caught:
        list(reader.receive(header[-1:]))
    assert caught.value.rule is Rule.MESSAGE_LENGTH


def test_the_reader_knows_how_much_is_missing() -> None:
    header, data = encode(1, MessageType.REQUEST, b"abc")
    wire = header + data
    missing = [0, *range(9, 0, -1), 3, 2, 1, 0]  # within the header, the header's rest: the length is not known yet
    for have, expected in enumerate(missing):
        reader = MessageReader()
        list(reader.receive(wire[:have]))
        assert reader.missing == expected, have
