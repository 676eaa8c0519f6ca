"""The two protobuf messages of ttrpc, coded by hand: Request and Response (upstream's request.proto).

Every container creation passes here. The messages have few fields, so this needs no protobuf library, and no
descriptor that could collide with another package's. The wire format is proto3's: unknown fields, and known numbers
with another wire type, are skipped; of a field that comes twice the last one counts, and a Status that comes twice is
merged. Groups are an error: proto3 has none, and no writer of ttrpc makes them.

`decode_*` raises RemoteProtocolError, `encode_*` LocalProtocolError.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from nri_cdi.ttrpc.errors import LocalProtocolError, RemoteProtocolError, Rule
from nri_cdi.ttrpc.status import OK, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

_VARINT: Final = 0
_FIXED64: Final = 1
_BYTES: Final = 2
_FIXED32: Final = 5
_FIXED_SIZE: Final = {_FIXED64: 8, _FIXED32: 4}

# A tag is the field's number << 3 | its wire type.
_REQUEST_SERVICE: Final = 1 << 3 | _BYTES
_REQUEST_METHOD: Final = 2 << 3 | _BYTES
_REQUEST_PAYLOAD: Final = 3 << 3 | _BYTES
_REQUEST_TIMEOUT_NANO: Final = 4 << 3 | _VARINT
_REQUEST_METADATA: Final = 5 << 3 | _BYTES
_KEY_VALUE_KEY: Final = 1 << 3 | _BYTES
_KEY_VALUE_VALUE: Final = 2 << 3 | _BYTES
_RESPONSE_STATUS: Final = 1 << 3 | _BYTES
_RESPONSE_PAYLOAD: Final = 2 << 3 | _BYTES
_STATUS_CODE: Final = 1 << 3 | _VARINT
_STATUS_MESSAGE: Final = 2 << 3 | _BYTES

_TAG_END: Final = 1 << 32
_NUMBER_MASK: Final = (1 << 64) - 1
_ONE_BYTE: Final = tuple(bytes((number,)) for number in range(0x80))


@dataclass(frozen=True, slots=True)
class Request:
    """A call. `timeout_nano` is in nanoseconds, 0 for none; `metadata` are pairs in order, a key may come twice."""

    service: str
    method: str
    payload: bytes = b""
    timeout_nano: int = 0
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: `status` OK and a payload, or another status (whose payload nobody reads)."""

    status: Status = OK
    payload: bytes = b""


def decode_request(data: bytes) -> Request:
    """The Request in `data`. Raises RemoteProtocolError when it is none."""
    service = method = ""
    payload = b""
    timeout_nano = 0
    metadata: list[tuple[str, str]] = []
    for tag, number, chunk in _fields(data):
        if tag == _REQUEST_SERVICE:
            service = _text(chunk, "Request.service")
        elif tag == _REQUEST_METHOD:
            method = _text(chunk, "Request.method")
        elif tag == _REQUEST_PAYLOAD:
            payload = chunk
        elif tag == _REQUEST_TIMEOUT_NANO:
            timeout_nano = _signed(number, 64)
        elif tag == _REQUEST_METADATA:
            metadata.append(_decode_key_value(chunk))
    return Request(service, method, payload, timeout_nano, tuple(metadata))


def encode_request(request: Request) -> bytes:
    """The bytes of `request`. Raises LocalProtocolError for text that is not Unicode and a timeout that is no int64."""
    if not -(1 << 63) <= request.timeout_nano < 1 << 63:
        raise LocalProtocolError(Rule.VALUE, f"a timeout of {request.timeout_nano} ns does not fit in 64 bits")
    return b"".join(
        (
            _encode_bytes(_REQUEST_SERVICE, _utf8(request.service, "service")),
            _encode_bytes(_REQUEST_METHOD, _utf8(request.method, "method")),
            _encode_bytes(_REQUEST_PAYLOAD, request.payload),
            _encode_number(_REQUEST_TIMEOUT_NANO, request.timeout_nano),
            *(_encode_key_value(key, value) for key, value in request.metadata),
        )
    )


def decode_response(data: bytes) -> Response:
    """The Response in `data`. Raises RemoteProtocolError when it is none."""
    status = OK
    payload = b""
    for tag, _, chunk in _fields(data):
        if tag == _RESPONSE_STATUS:
            status = _decode_status(chunk, status)
        elif tag == _RESPONSE_PAYLOAD:
            payload = chunk
    return Response(status, payload)


def encode_response(response: Response) -> bytes:
    """The bytes of `response`; an OK status without a text is left out, as upstream's servers leave it out.

    What is not Unicode in the status's message is escaped, not an error: a refusal names files, whose names may be
    any bytes, and a refusal that could not be sent would be a container without its devices. Raises
    LocalProtocolError for a code that is no int32.
    """
    status = response.status
    if not -(1 << 31) <= status.code < 1 << 31:
        raise LocalProtocolError(Rule.VALUE, f"a status code of {status.code} does not fit in 32 bits")
    encoded_status = _encode_number(_STATUS_CODE, status.code) + _encode_bytes(
        _STATUS_MESSAGE, status.message.encode(errors="backslashreplace")
    )
    return _encode_bytes(_RESPONSE_STATUS, encoded_status) + _encode_bytes(_RESPONSE_PAYLOAD, response.payload)


def _decode_status(data: bytes, merged_into: Status) -> Status:
    code, message = merged_into.code, merged_into.message
    for tag, number, chunk in _fields(data):
        if tag == _STATUS_CODE:
            code = _signed(number, 32)
        elif tag == _STATUS_MESSAGE:
            message = _text(chunk, "Status.message")
    return Status(code, message)


def _decode_key_value(data: bytes) -> tuple[str, str]:
    key = value = ""
    for tag, _, chunk in _fields(data):
        if tag == _KEY_VALUE_KEY:
            key = _text(chunk, "KeyValue.key")
        elif tag == _KEY_VALUE_VALUE:
            value = _text(chunk, "KeyValue.value")
    return key, value


def _encode_key_value(key: str, value: str) -> bytes:
    pair = _encode_bytes(_KEY_VALUE_KEY, _utf8(key, "metadata key")) + _encode_bytes(
        _KEY_VALUE_VALUE, _utf8(value, "metadata value")
    )
    # an empty element of a repeated field is still an element
    return _varint(_REQUEST_METADATA) + _varint(len(pair)) + pair


def _fields(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Each field as (tag, number, chunk): a varint has a number, bytes have a chunk.

    Fields of a fixed size are skipped: ttrpc has none.
    """
    at, end = 0, len(data)
    while at < end:
        # Tags and most lengths are one byte; the rest goes the slow way. It halves the time of a request.
        if (tag := data[at]) < 0x80:
            at += 1
        else:
            tag, at = _read_varint(data, at)
        if not 8 <= tag < _TAG_END:
            raise RemoteProtocolError(Rule.PROTOBUF, f"a protobuf field with the impossible tag {tag}")
        wire_type = tag & 7
        if wire_type == _BYTES:
            if at < end and (size := data[at]) < 0x80:
                at += 1
            else:
                size, at = _read_varint(data, at)
            start, at = at, at + size
            if at <= end:
                yield tag, 0, data[start:at]
        elif wire_type == _VARINT:
            number, at = _read_varint(data, at)
            yield tag, number, b""
        elif wire_type in _FIXED_SIZE:
            at += _FIXED_SIZE[wire_type]
        else:
            raise RemoteProtocolError(
                Rule.PROTOBUF, f"a protobuf field of wire type {wire_type}, which proto3 does not have"
            )
    if at > end:
        raise RemoteProtocolError(Rule.PROTOBUF, f"a protobuf field is {at - end} bytes longer than its message")


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, modulo 2^64, and where it ends; 7 bits a byte, least first, at most 10 bytes."""
    number = shift = 0
    for byte in data[at : at + 10]:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number & _NUMBER_MASK, at + shift // 7
    raise RemoteProtocolError(Rule.PROTOBUF, "a protobuf number does not end")


def _varint(number: int) -> bytes:
    if number < 0x80:
        return _ONE_BYTE[number]
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _signed(number: int, bits: int) -> int:
    """The lowest `bits` of `number` as a two's complement number: how protobuf reads int32 and int64."""
    number &= (1 << bits) - 1
    return number - (1 << bits) if number >> (bits - 1) else number


def _encode_number(tag: int, number: int) -> bytes:
    """A varint field; proto3 leaves out a zero."""
    return _varint(tag) + _varint(number & _NUMBER_MASK) if number else b""


def _encode_bytes(tag: int, data: bytes) -> bytes:
    """A field with its length before it; proto3 leaves out an empty one."""
    return _varint(tag) + _varint(len(data)) + data if data else b""


def _text(data: bytes, field: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise RemoteProtocolError(
            Rule.PROTOBUF, f"{field} is not UTF-8: {error.reason} at byte {error.start}"
        ) from None


def _utf8(text: str, field: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise LocalProtocolError(Rule.VALUE, f"the {field} {text!r} is not Unicode text: {error.reason}") from None
