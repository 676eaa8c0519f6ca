"""Hypothesis strategies for the values of this project's domain. The one module that imports hypothesis."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from hypothesis import strategies as st

from nri_cdi.ttrpc import frames, messages, mux
from nri_cdi.ttrpc.status import Status

# -- ttrpc

names: Final = st.text(max_size=40)
"""Service and method names, metadata keys: any Unicode text."""

payloads: Final = st.one_of(
    st.binary(max_size=300),
    # around the sizes where lengths grow by a byte and where the peer's reader has its buffer
    st.sampled_from([0, 1, 127, 128, 4085, 4086, 4087, 4096, 4097, 16383, 16384]).map(bytes),
)
"""Payloads of requests and responses: bytes of any kind and of the sizes that matter."""

metadata: Final = st.lists(st.tuples(names, names), max_size=4).map(tuple)
"""Metadata of requests: pairs in order, keys may repeat."""

timeouts: Final = st.one_of(st.just(0), st.just(2_000_000_000), st.integers(-(1 << 63), (1 << 63) - 1))
"""timeout_nano: any int64, often none or two seconds."""

requests: Final = st.builds(messages.Request, names, names, payloads, timeouts, metadata)
"""ttrpc requests."""

statuses: Final = st.builds(Status, st.one_of(st.integers(0, 16), st.integers(-(1 << 31), (1 << 31) - 1)), names)
"""Statuses: the gRPC codes, and any other int32."""

refusals: Final = statuses.filter(lambda status: status.code != 0)
"""Statuses that are errors."""

responses: Final = st.builds(messages.Response, statuses, payloads)
"""ttrpc responses."""


def _field(number: int, wire_type: int, body: bytes) -> bytes:
    return bytes([number << 3 | wire_type]) + body


_small_fields: Final = st.one_of(
    st.builds(_field, st.integers(1, 6), st.just(0), st.binary(min_size=1, max_size=11)),
    st.builds(
        lambda number, body: _field(number, 2, bytes([len(body)]) + body), st.integers(1, 6), st.binary(max_size=20)
    ),
    st.builds(_field, st.integers(1, 6), st.just(1), st.binary(min_size=8, max_size=8)),
    st.builds(_field, st.integers(1, 6), st.just(5), st.binary(min_size=4, max_size=4)),
)

protobuf_bytes: Final = st.one_of(
    st.binary(max_size=60),
    st.lists(_small_fields, max_size=5).map(b"".join),
    requests.map(messages.encode_request),
    responses.map(messages.encode_response),
)
"""Bytes for a decoder: messages, sequences of fields that may be of one, and noise."""


def cuts(data: bytes) -> st.SearchStrategy[list[bytes]]:
    """Ways to cut `data` into pieces, which may be empty."""
    places = st.lists(st.integers(0, len(data)), max_size=8).map(lambda places: sorted({0, *places, len(data)}))
    return places.map(lambda places: [data[a:b] for a, b in pairwise(places)] or [data])


def _wire_message(connection: int, stream: int, kind: int, body: bytes) -> bytes:
    pieces = frames.encode(stream, frames.MessageType.REQUEST, body)
    pieces[0] = pieces[0][:8] + bytes([kind]) + pieces[0][9:]
    return mux.encode(connection, pieces)


_wire_messages: Final = st.one_of(
    st.builds(
        _wire_message, st.just(1), st.sampled_from([1, 3, 5, 7, 9]), st.just(1), requests.map(messages.encode_request)
    ),
    st.builds(
        _wire_message, st.just(2), st.sampled_from([1, 3, 5]), st.just(2), responses.map(messages.encode_response)
    ),
    st.builds(_wire_message, st.integers(0, 3), st.integers(0, 9), st.integers(0, 4), protobuf_bytes),
)


def _with_byte(data: bytes, place: int, byte: int) -> bytes:
    place %= len(data) + 1
    return data[:place] + bytes([byte]) + data[place + 1 :]


_streams: Final = st.lists(_wire_messages, max_size=5).map(b"".join)

peer_bytes: Final = st.one_of(
    st.binary(max_size=200),
    _streams,
    st.builds(_with_byte, _streams, st.integers(min_value=0), st.integers(0, 255)),
)
"""What a peer may send to a plugin: right streams, nearly right ones, streams with one wrong byte, and noise."""
