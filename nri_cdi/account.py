"""What an NRI half knows of the allocations on its node, and how it is told over the readiness socket: JSON of a bounded size. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

SIZE_MAX: Final = 2 << 20
"""Bytes that the injections of an answer may take: well under what ttrpc sends in one message."""

_BETWEEN: Final = b", "


@dataclass(frozen=True, slots=True)
class Injection:
    """What became of an allocation in the latest container that was created for it."""

    namespace: str
    pod: str
    container: str
    container_id: str
    """The runtime's."""
    devices: str
    """Their qualified names, divided by commas; of very many the first."""
    fault: str = ""
    """What is the matter; empty when the container has all that was promised."""


@dataclass(frozen=True, slots=True)
class Account:
    """How an NRI half stands with the runtime, in words too, and the injections it knows of, by allocation id, the latest last.

    `left_out` counts those that it has forgotten, or that the answer had no room for: who is missing may be one of them.
    """

    version: str
    """Of nri-cdi."""
    synchronized: bool
    standing: str
    injections: Mapping[str, Injection]
    left_out: int = 0


def encode(account: Account) -> bytes:
    """The account as JSON; where the injections take more than SIZE_MAX the oldest are left out.

    They are encoded one by one: as one piece the interpreter's lock would be held all the time, beside the thread that serves the runtime.
    """
    parts: list[bytes] = []
    room = SIZE_MAX
    for allocation, injection in reversed(tuple(account.injections.items())):
        part = json.dumps([allocation, asdict(injection)]).encode()
        room -= len(part) + len(_BETWEEN)
        if room < 0:
            break
        parts.append(part)
    head = {
        "version": account.version,
        "synchronized": account.synchronized,
        "standing": account.standing,
        "left_out": account.left_out + len(account.injections) - len(parts),
    }
    return b'{"account": %b, "injections": [%b]}' % (json.dumps(head).encode(), _BETWEEN.join(reversed(parts)))


def decode(data: bytes) -> Account:
    """The account that `encode` wrote, of this release or another. Raises ValueError for anything else."""
    try:
        whole = json.loads(data)
        head = whole["account"]
        injections = {str(allocation): _injection(plain) for allocation, plain in whole["injections"]}
        read = Account(
            str(head["version"]), bool(head["synchronized"]), str(head["standing"]), injections, int(head["left_out"])
        )
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"its account cannot be read: {error!r}") from error
    return read


def _injection(plain: dict[str, Any]) -> Injection:
    """Members that another release has beyond ours are passed over."""
    return Injection(**{name: str(plain[name]) for name in Injection.__slots__})
