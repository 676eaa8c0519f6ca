"""Ours or not: whether a container is any business of ours, seen from the raw request. Total: it cannot raise.

This is the twin promise. A container is ours when an annotation key of it begins with the prefix, or when a guard of ours is mounted in it. Any
other container is answered before anything of ours that could break has been touched: no spec, no host, no decoded message.

The walk below reads protobuf's wire format by itself (a container is field 2 of a request and field 3 of a StateChangeEvent; its annotations are
field 6, its mounts field 9), and only where the bytes we look for occur in the request at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nri_cdi.allocation import GUARD_ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

_ANNOTATIONS: Final = 6
_MOUNTS: Final = 9
_GUARD: Final = f"{GUARD_ROOT}/".encode()
_FIXED: Final = {1: 8, 5: 4}
"""Wire types of a fixed size, in bytes."""


class Concern:
    """Whether requests concern the owner of an annotation prefix: `Concern("cdi.k8s.io/")(payload, state_change=False)`."""

    __slots__ = ("_prefix",)

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix.encode()

    def __call__(self, payload: bytes, *, state_change: bool) -> bool:
        """Whether an encoded request (or StateChangeEvent) is about a container with a key or a guard of ours.

        Bytes that are no protobuf message but hold what we look for count as ours: they cannot be told from it.
        """
        if self._prefix not in payload and _GUARD not in payload:
            return False
        try:
            return any(self._ours(container) for container in _fields(payload, 3 if state_change else 2))
        except (IndexError, ValueError):
            return True

    def _ours(self, container: bytes) -> bool:
        keys = (key for entry in _fields(container, _ANNOTATIONS) for key in _fields(entry, 1))
        if any(key.startswith(self._prefix) for key in keys):
            return True
        destinations = (name for mount in _fields(container, _MOUNTS) for name in _fields(mount, 1))
        return any(destination.startswith(_GUARD) for destination in destinations)


def _fields(message: bytes, wanted: int) -> Iterator[bytes]:
    """The contents of the length-delimited fields with number `wanted`.

    Raises IndexError or ValueError for what is no message.
    """
    at, end = 0, len(message)
    while at < end:
        tag, at = message[at], at + 1
        if tag >= 0x80:
            tag, at = _varint(message, at - 1)
        kind = tag & 7
        if kind == 2:
            size, at = message[at], at + 1  # most are of one byte, and this is on the way of every request
            if size >= 0x80:
                size, at = _varint(message, at - 1)
            if at + size > end:
                raise ValueError("a field ends behind its message")
            if tag >> 3 == wanted:
                yield message[at : at + size]
            at += size
        elif kind == 0:
            _, at = _varint(message, at)
        elif kind in _FIXED:
            at += _FIXED[kind]
        else:
            raise ValueError("a wire type that proto3 does not have")
    if at > end:
        raise ValueError("a field ends behind its message")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at` and the place behind it."""
    byte = data[at]
    if byte < 0x80:
        return byte, at + 1
    value, shift = byte & 0x7F, 7
    while True:
        at += 1
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
