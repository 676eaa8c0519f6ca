"""How a plugin stands with the kubelet, and what it does next: a pure state table; `registration` is its rim.

The kubelet forgets a plugin when it restarts (kubelet.sock is made anew, all sockets of the directory are deleted first), and when a
ListAndWatch stream of the resource ends, even that of another instance; another plugin that registers the resource takes our place. It says none
of this; all is seen here. It must hear from us
before it looks at its pods, or those with devices that are not running at that moment fail for good: hence the short times. It mostly does so 0.8 s after its
socket is there, and has been seen to after 0.17 s.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

SETTLE: Final = 0.05
"""Seconds to let pass after a stream's end. The kubelet closes the connection that is the resource's newest when an older one's stream
ends; a registration made between the two would be what it closes."""

STREAM_PATIENCE: Final = 5.0
"""Seconds after a registration in which ListAndWatch should have been called and our devices counted; it takes milliseconds."""

QUICK: Final = 5.0
"""Registrations closer to each other than these seconds, pauses not counted, are a quarrel over the resource."""

QUICK_FREE: Final = 3
"""So many quick registrations in a row are made without delay: a rolling update needs one or two."""

RETRY_FIRST: Final = 0.1
RETRY_MAX: Final = 10.0
"""Seconds between attempts: doubled from the first, at most the second. A new kubelet.sock is tried at once whatever went before."""

BIND_RETRY: Final = 0.2
"""Seconds between attempts to bind our socket. They are cheap and disturb nobody, so they do not slow down: the next kubelet may come at any time."""

DISPLACED = (
    "another device plugin registered this resource after us, and the kubelet counts its devices instead of ours: "
    "standing by until it ends; remove that plugin, or give ours another name: --resource KIND=RESOURCE"
)
DROPPED = "it counted none of our devices"
ABSENT = "{socket} is not there: waiting for the kubelet"
NO_DIRECTORY = "{directory} does not exist: waiting for the kubelet to make it (is --kubelet-dir right?)"
TAKEN = "another instance serves this resource now at {path}: standing by until it ends"
NEW_SOCKET = "our socket is new"
NEW_KUBELET = "its socket is new"
STREAM_ENDED = "it had ended ListAndWatch"
NO_STREAM = "it had not called ListAndWatch"
LOST_SOCKET = "the old socket is gone"
AGAIN = "after an attempt that failed"
QUARREL = "the kubelet ends ListAndWatch soon after each registration (does another plugin register this resource?): registering again ever more slowly"

SocketId: TypeAlias = tuple[int, int, int]
"""What tells one socket file from another at the same path: device, inode, change time in nanoseconds."""


class Own(enum.Enum):
    """What is at the path of the plugin's own socket."""

    OURS = enum.auto()
    GONE = enum.auto()
    """Nothing, or a socket that nobody answers on any more."""
    TAKEN = enum.auto()
    """A socket that another process answers on."""
    NO_DIRECTORY = enum.auto()


class Counted(enum.Enum):
    """Whose devices of the resource the kubelet counts while it follows our list."""

    OURS = enum.auto()
    """Or it is not known."""
    THEIRS = enum.auto()
    """Only such as we do not have: another plugin registered after us, and the kubelet does not tell."""
    NOBODYS = enum.auto()
    """None, though some of ours are healthy: that other plugin has ended."""


@dataclass(frozen=True, slots=True)
class Streams:
    """The ListAndWatch streams of a plugin: how many are open, how many have ended so far, and when the last one did (seconds)."""

    open: int = 0
    ended: int = 0
    last_end: float = 0.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What the rim sees at one moment."""

    kubelet: SocketId | None
    own: Own
    streams: Streams
    counted: Counted = Counted.OURS


@dataclass(frozen=True, slots=True)
class Standing:
    """What has been done so far. Times are seconds of the clock that `now` comes from."""

    bound: bool = False
    bind_after: float = 0.0
    tried: SocketId | None = None
    """The kubelet.sock of the last attempt to register."""
    registered: bool = False
    """Whether that attempt succeeded."""
    streams_ended: int = 0
    """How many streams had ended when that attempt began."""
    registered_at: float = 0.0
    quick: int = 0
    failures: int = 0
    not_before: float = 0.0


class Step(enum.Enum):
    """An action of the rim."""

    WAIT = enum.auto()
    BIND = enum.auto()
    REGISTER = enum.auto()


@dataclass(frozen=True, slots=True)
class Decision:
    """The next step, why, and the moment to look again at the latest if it is to wait (None: whenever the rim polls).

    `why` is for the log, with {socket}, {path} and {directory} to be filled in; empty when all is well.
    """

    step: Step
    why: str = ""
    until: float | None = None


def decide(standing: Standing, seen: Seen, now: float) -> Decision:
    """What a plugin that stands so does next, given what is seen."""
    if seen.own is Own.NO_DIRECTORY:
        return Decision(Step.WAIT, NO_DIRECTORY)
    if seen.own is Own.TAKEN and standing.bound:
        return Decision(Step.WAIT, TAKEN)
    if seen.own is not Own.OURS:
        return at(standing.bind_after, now, Step.BIND, LOST_SOCKET if standing.bound else "")
    if seen.kubelet is None:
        return Decision(Step.WAIT, ABSENT)
    if seen.kubelet != standing.tried:
        return Decision(Step.REGISTER, NEW_KUBELET if standing.tried else NEW_SOCKET)
    if not standing.registered:
        return at(standing.not_before, now, Step.REGISTER, AGAIN)
    return _registered(standing, seen, now)


def _registered(standing: Standing, seen: Seen, now: float) -> Decision:
    """What a plugin does next that the kubelet took."""
    if seen.counted is Counted.THEIRS:
        return Decision(Step.WAIT, DISPLACED)
    if seen.streams.ended > standing.streams_ended:
        return at(max(standing.not_before, seen.streams.last_end + SETTLE), now, Step.REGISTER, STREAM_ENDED)
    if not seen.streams.open:
        return at(standing.registered_at + STREAM_PATIENCE, now, Step.REGISTER, NO_STREAM)
    if seen.counted is Counted.NOBODYS:
        return at(standing.registered_at + STREAM_PATIENCE, now, Step.REGISTER, DROPPED)
    return Decision(Step.WAIT)


def at(moment: float, now: float, step: Step, why: str) -> Decision:
    """`step` when `moment` has come, else waiting for it."""
    return Decision(step, why) if now >= moment else Decision(Step.WAIT, until=moment)


def bound(standing: Standing) -> Standing:
    """After our socket was bound: whatever the kubelet was told of before is to be told again."""
    return replace(standing, bound=True, tried=None, registered=False, failures=0, not_before=0.0)


def failed(standing: Standing, now: float) -> Standing:
    """After an attempt to bind that failed."""
    return replace(standing, bind_after=now + BIND_RETRY)


def refused(standing: Standing, seen: Seen, now: float) -> Standing:
    """After an attempt to register that failed; `seen` is what was seen before it."""
    failures = standing.failures + 1 if standing.tried == seen.kubelet else 1
    return replace(
        standing, tried=seen.kubelet, registered=False, failures=failures, not_before=now + pause(failures - 1)
    )


def registered(standing: Standing, seen: Seen, now: float) -> Standing:
    """After a registration that succeeded; `seen` is what was seen before it, so that an end in between is not missed."""
    again = standing.tried == seen.kubelet and is_quick(standing.registered_at, standing.not_before, now)
    quick = standing.quick + 1 if again else 0
    return replace(
        standing,
        tried=seen.kubelet,
        registered=True,
        streams_ended=seen.streams.ended,
        registered_at=now,
        quick=quick,
        failures=0,
        not_before=now + rest(quick),
    )


def is_quick(registered_at: float, not_before: float, now: float) -> bool:
    """Whether it is soon, `now`, after a registration after which none was to be made before a moment."""
    return now - max(registered_at, not_before) < QUICK


def rest(quick: int) -> float:
    """The seconds in which none is made after so many quick registrations in a row."""
    return pause(quick - QUICK_FREE) if quick >= QUICK_FREE else 0.0


def pause(doublings: int) -> float:
    """The pause, in seconds, after so many doublings of the first one."""
    return float(min(RETRY_FIRST * 2.0 ** min(doublings, 16), RETRY_MAX))
