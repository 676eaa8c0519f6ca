"""The codec of Request and Response, against the protobuf library as an independent oracle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from hypothesis import assume, example, given

from nri_cdi.testing import strategies
from nri_cdi.ttrpc import Code, LocalProtocolError, RemoteProtocolError, Rule, Status
from nri_cdi.ttrpc.messages import (
    Request,
    Response,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)

if TYPE_CHECKING:
    from collections.abc import Callable


_STRING, _BYTES, _INT64, _INT32, _MESSAGE = 9, 12, 3, 5, 11
_FIELDS: dict[str, list[tuple[str, int, str | None]]] = {
    "Request": [
        ("service", _STRING, None),
        ("method", _STRING, None),
        ("payload", _BYTES, None),
        ("timeout_nano", _INT64, None),
        ("metadata", _MESSAGE, "KeyValue"),
    ],
    "Response": [("status", _MESSAGE, "Status"), ("payload", _BYTES, None)],
    "KeyValue": [("key", _STRING, None), ("value", _STRING, None)],
    "Status": [("code", _INT32, None), ("message", _STRING, None)],
}


def _oracle() -> dict[str, Any]:
    """The protobuf library's classes for the four messages, in a pool of their own."""
    file = descriptor_pb2.FileDescriptorProto(name="oracle.proto", package="oracle", syntax="proto3")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for number, (field, kind, of) in enumerate(fields, start=1):
            added = message.field.add(name=field, number=number, label=1)
            added.type = kind  # type: ignore[assignment]  # the stubs want the enum's own int type
            if of is not None:
                added.type_name = f".oracle.{of}"
            if field == "metadata":
                added.label = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"oracle.{name}")) for name in _FIELDS}


# The library makes these classes at run time, so no type is known for them.
ORACLE: dict[str, Any] = _oracle()


def _theirs(request: Request) -> bytes:
    message = ORACLE["Request"](
        service=request.service,
        method=request.method,
        payload=request.payload,
        timeout_nano=request.timeout_nano,
        metadata=[{"key": key, "value": value} for key, value in request.metadata],
    )
    data: bytes = message.SerializeToString()
    return data


def _oracle_request(data: bytes) -> Request:
    message = ORACLE["Request"].FromString(data)
    metadata = tuple((pair.key, pair.value) for pair in message.metadata)
    return Request(message.service, message.method, message.payload, message.timeout_nano, metadata)


def _oracle_response(data: bytes) -> Response:
    message = ORACLE["Response"].FromString(data)
    return Response(Status(message.status.code, message.status.message), message.payload)


REQUEST = Request(
    "nri.Plugin", "CreateContainer", b"\x0a\x00", 1_999_960_000, (("containerd-namespace-ttrpc", "k8s.io"),)
)
REQUEST_BYTES = (
    b"\x0a\x0anri.Plugin"
    b"\x12\x0fCreateContainer"
    b"\x1a\x02\x0a\x00"
    b"\x20\xc0\xef\xd3\xb9\x07"
    b"\x2a\x24\x0a\x1acontainerd-namespace-ttrpc\x12\x06k8s.io"
)


def test_a_request_has_these_bytes() -> None:
    assert encode_request(REQUEST) == REQUEST_BYTES
    assert decode_request(REQUEST_BYTES) == REQUEST


@pytest.mark.parametrize(
    ("response", "data"),
    [
        (Response(), b""),
        (Response(payload=b"yes"), b"\x12\x03yes"),
        (Response(Status(Code.NOT_FOUND, "no")), b"\x0a\x06\x08\x05\x12\x02no"),
        (Response(Status(-1)), b"\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        (Response(payload=b"p" * 128), b"\x12\x80\x01" + b"p" * 128),
    ],
)
def test_a_response_has_these_bytes(response: Response, data: bytes) -> None:
    assert encode_response(response) == data
    assert decode_response(data) == response


@given(strategies.requests)
def test_requests_have_the_bytes_that_the_protobuf_library_gives_them(request: Request) -> None:
    assert encode_request(request) == _theirs(request)
    assert decode_request(_theirs(request)) == request


@given(strategies.responses)
def test_responses_mean_the_same_to_the_protobuf_library(response: Response) -> None:
    assert _oracle_response(encode_response(response)) == response
    assert decode_response(encode_response(response)) == response


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(decode_request, _oracle_request), (decode_response, _oracle_response)],
    ids=["request", "response"],
)
@given(data=strategies.protobuf_bytes)
@example(data=b"\x0a\x01a\x0a\x01b")  # the last one counts
@example(data=b"\x0a\x02\x08\x05\x0a\x03\x12\x01x")  # two halves of a Status are merged
@example(data=b"\x8a\x00\x01a")  # a tag longer than it need be
@example(data=b"\x20" + b"\xff" * 9 + b"\x01")  # -1
@example(data=b"\x20" + b"\xff" * 9 + b"\x7f")  # more than 64 bits
@example(data=b"\x20" + b"\xff" * 10 + b"\x01")  # more than 10 bytes
@example(data=b"\x30\x05\x3d1234\x39" + b"12345678")  # fields of the future
def test_any_bytes_mean_what_the_protobuf_library_says_or_nothing_to_both(
    ours: Callable[[bytes], object], theirs: Callable[[bytes], object], data: bytes
) -> None:
    try:
        mine: object = ours(data)
    except RemoteProtocolError as error:
        assume("wire type 3" not in error.detail)  # groups: the library still skips them
        mine = None
    try:
        other: object = theirs(data)
    except DecodeError:
        other = None
    assert mine == other


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x0a\x05nri", "2 bytes longer than its message"),
        (b"\x0a", "does not end"),
        (b"\x20\x80", "does not end"),
        (b"\x31\x00", "7 bytes longer than its message"),
        (b"\x35\x00", "3 bytes longer than its message"),
        (b"\x02\x00", "impossible tag 2"),
        (b"\xff\xff\xff\xff\xff\x01", "impossible tag"),
        (b"\x0b\x0c", "wire type 3"),
        (b"\x0e", "wire type 6"),
        (b"\x0a\x01\xff", "service is not UTF-8"),
        (b"\x12\x01\xff", "method is not UTF-8"),
        (b"\x2a\x03\x0a\x01\xff", "key is not UTF-8"),
        (b"\x2a\x03\x12\x01\xff", "value is not UTF-8"),
        (b"\x2a\x01\x0a", "does not end"),
    ],
)
def test_a_broken_request_says_what_is_broken(data: bytes, words: str) -> None:
    with pytest.raises(RemoteProtocolError, match=words) as caught:
        decode_request(data)
    assert caught.value.rule is Rule.PROTOBUF


def test_a_broken_status_text_says_so() -> None:
    with pytest.raises(RemoteProtocolError, match="message is not UTF-8"):
        decode_response(b"\x0a\x03\x12\x01\xff")


@pytest.mark.parametrize(
    "request_",
    [
        Request("\udc80", "m"),
        Request("s", "\udc80"),
        Request("s", "m", metadata=(("\udc80", ""),)),
        Request("s", "m", metadata=(("", "\udc80"),)),
        Request("s", "m", timeout_nano=1 << 63),
        Request("s", "m", timeout_nano=-(1 << 63) - 1),
    ],
)
def test_what_the_wire_cannot_carry_is_our_error(request_: Request) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        encode_request(request_)
    assert caught.value.rule is Rule.VALUE


@pytest.mark.parametrize("code", [1 << 31, -(1 << 31) - 1])
def test_a_status_code_has_32_bits(code: int) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        encode_response(Response(Status(code)))
    assert caught.value.rule is Rule.VALUE


def test_a_refusal_that_names_a_file_with_an_odd_name_can_be_sent() -> None:
    encoded = encode_response(Response(Status(Code.NOT_FOUND, "/dev/\udcff")))
    assert decode_response(encoded).status == Status(Code.NOT_FOUND, "/dev/\\udcff")
