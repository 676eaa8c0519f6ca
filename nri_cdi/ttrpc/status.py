"""The status of an answer: a gRPC code and a text (google.rpc.Status without its details)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class Code(IntEnum):
    """The gRPC status codes. A peer may send others: `Status.code` is an int."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True)
class Status:
    """`code` is a `Code` or any other int32 that a peer chose; `message` is for people."""

    code: int = 0
    message: str = ""

    def __str__(self) -> str:
        try:
            name = Code(self.code).name
        except ValueError:
            name = f"code {self.code}"
        return f"{name}: {self.message}" if self.message else name


OK: Final = Status()
"""The status of a call that was answered."""


def unimplemented(service: str, method: str) -> str:
    """The text to refuse an unknown method with, beside `Code.UNIMPLEMENTED`; it names what upstream's servers name."""
    return f"service {service} method {method}"
