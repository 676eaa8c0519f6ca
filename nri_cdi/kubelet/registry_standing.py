"""How a plugin stands that is registered by its socket in plugins_registry: a pure state table; `registry` is its rim.

There the kubelet comes to the plugin: it watches the directory, and a kubelet that starts looks through it before its first pod. So
nothing is to be done for a kubelet's restart. But when the kubelet ends our connection while it lives (another instance of the
resource ended, or it could not take us), it comes again only for a socket that is new: binding anew is registering anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from nri_cdi.kubelet.standing import (
    AGAIN,
    BIND_RETRY,
    DISPLACED,
    DROPPED,
    LOST_SOCKET,
    NO_DIRECTORY,
    SETTLE,
    STREAM_ENDED,
    STREAM_PATIENCE,
    TAKEN,
    Counted,
    Decision,
    Own,
    Step,
    Streams,
    at,
    is_quick,
    pause,
    rest,
)

NUDGE: Final = 30.0
"""Seconds without a stream after which the socket is made anew, in case the kubelet missed it. A kubelet that is down does not mind."""

NOT_FOLLOWED: Final = "the kubelet had not come"


@dataclass(frozen=True, slots=True)
class RegistryStanding:
    """What has been done so far. Times are seconds of the clock that `now` comes from."""

    bound: bool = False
    bind_after: float = 0.0
    bound_at: float = 0.0
    streams_ended: int = 0
    """How many streams had ended when the socket was bound."""
    registered: bool = False
    """Whether the kubelet said that it took the plugin, and not otherwise since."""
    failures: int = 0
    """How often in a row it said that it did not."""
    quick: int = 0
    """How often in a row the socket was made anew soon after the last time because a stream had ended."""
    not_before: float = 0.0


def decide(
    standing: RegistryStanding, own: Own, streams: Streams, now: float, counted: Counted = Counted.OURS
) -> Decision:
    """What a plugin that stands so does next: to bind (anew), or to wait."""
    if own is Own.NO_DIRECTORY:
        return Decision(Step.WAIT, NO_DIRECTORY)
    if own is Own.TAKEN and standing.bound:
        return Decision(Step.WAIT, TAKEN)
    if own is not Own.OURS:
        return at(standing.bind_after, now, Step.BIND, LOST_SOCKET if standing.bound else "")
    if standing.failures:
        return at(standing.not_before, now, Step.BIND, AGAIN)
    if counted is Counted.THEIRS:
        return Decision(Step.WAIT, DISPLACED)
    if streams.open and counted is Counted.NOBODYS:
        return at(standing.bound_at + STREAM_PATIENCE, now, Step.BIND, DROPPED)
    if streams.open:
        return Decision(Step.WAIT)
    if streams.ended > standing.streams_ended:
        return at(max(standing.not_before, streams.last_end + SETTLE), now, Step.BIND, STREAM_ENDED)
    return at(standing.bound_at + NUDGE, now, Step.BIND, NOT_FOLLOWED)


def binding(standing: RegistryStanding) -> RegistryStanding:
    """Before the socket is bound: what the kubelet says from now on is of the new one."""
    return replace(standing, registered=False)


def bound(standing: RegistryStanding, streams: Streams, now: float) -> RegistryStanding:
    """After the socket was bound; `streams` is what was seen before it."""
    again = streams.ended > standing.streams_ended and is_quick(standing.bound_at, standing.not_before, now)
    quick = standing.quick + 1 if again else 0
    not_before = now + (pause(standing.failures) if standing.failures else rest(quick))
    return replace(standing, bound=True, bound_at=now, streams_ended=streams.ended, quick=quick, not_before=not_before)


def failed(standing: RegistryStanding, now: float) -> RegistryStanding:
    """After an attempt to bind that failed."""
    return replace(standing, bind_after=now + BIND_RETRY)


def notified(standing: RegistryStanding, *, registered: bool, now: float) -> RegistryStanding:
    """After the kubelet said whether it took the plugin."""
    if registered:
        again = is_quick(standing.bound_at, standing.not_before, now)
        quick = standing.quick if again else 0  # a kubelet that came by itself
        return replace(standing, registered=True, failures=0, quick=quick, not_before=standing.bound_at + rest(quick))
    failures = standing.failures + 1
    return replace(standing, registered=False, failures=failures, not_before=now + pause(failures - 1))
