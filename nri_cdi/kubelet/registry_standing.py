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
    pause,
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
        return _at(standing.bind_after, now, LOST_SOCKET if standing.bound else "")
    if standing.failures:
        return _at(standing.not_before, now, AGAIN)
    if counted is Counted.THEIRS:
        return Decision(Step.WAIT, DISPLACED)
    if streams.open and counted is Counted.NOBODYS:
        return _at(standing.bound_at + STREAM_PATIENCE, now, DROPPED)
    if streams.open:
        return Decision(Step.WAIT)
    if streams.ended > standing.streams_ended:
        return _at(streams.last_end + SETTLE, now, STREAM_ENDED)
    return _at(standing.bound_at + NUDGE, now, NOT_FOLLOWED)


def _at(moment: float, now: float, why: str) -> Decision:
    return Decision(Step.BIND, why) if now >= moment else Decision(Step.WAIT, until=moment)


def binding(standing: RegistryStanding) -> RegistryStanding:
    """Before the socket is bound: what the kubelet says from now on is of the new one."""
    return replace(standing, registered=False)


def bound(standing: RegistryStanding, streams: Streams, now: float) -> RegistryStanding:
    """After the socket was bound; `streams` is what was seen before it."""
    not_before = now + pause(standing.failures) if standing.failures else 0.0
    return replace(standing, bound=True, bound_at=now, streams_ended=streams.ended, not_before=not_before)


def failed(standing: RegistryStanding, now: float) -> RegistryStanding:
    """After an attempt to bind that failed."""
    return replace(standing, bind_after=now + BIND_RETRY)


def notified(standing: RegistryStanding, *, registered: bool, now: float) -> RegistryStanding:
    """After the kubelet said whether it took the plugin."""
    if registered:
        return replace(standing, registered=True, failures=0)
    failures = standing.failures + 1
    return replace(standing, registered=False, failures=failures, not_before=now + pause(failures - 1))
