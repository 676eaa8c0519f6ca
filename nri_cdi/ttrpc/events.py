"""What a connection tells about the bytes it received."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from nri_cdi.ttrpc.status import Status


@dataclass(frozen=True, slots=True)
class CallReceived:
    """The peer calls: answer or refuse `stream`, once.

    `timeout_nano` is the time that the peer gives us, in nanoseconds; 0: it does not say.
    """

    stream: int
    service: str
    method: str
    payload: bytes
    timeout_nano: int
    metadata: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class UnreadableCallReceived:
    """The peer sent a request that is no Request, in a sound frame: refuse `stream` with INVALID_ARGUMENT and
    `detail`, once.

    Upstream's server does so too, and it is safer than to close the link: the runtime goes on without a plugin whose
    link closed, and the container of this call, which may be ours, with it; a refused call stops that one container.
    """

    stream: int
    detail: str


@dataclass(frozen=True, slots=True)
class AnswerReceived:
    """The peer answered our call `stream`: with `payload`; or `payload` is None and `status.code` not 0: refused."""

    stream: int
    payload: bytes | None
    status: Status


Event: TypeAlias = CallReceived | UnreadableCallReceived | AnswerReceived
