"""The health of one device over time: a pure state table between what is seen of it and what the kubelet is told.

A device that is in order is healthy and one that is not is unhealthy, but for two things. While a device *settles* it stays healthy whatever is
seen: the kubelet ends for good the pods whose containers do not run when their device is unhealthy, and after a boot or the replacement of a spec
file a short outage is to be expected; meanwhile the reason is kept, and PreStartContainer holds the containers with it. And a device
that *wavers*, breaking again right after it recovered, must be in order for a while before it is healthy again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

WAVERING: Final = 10.0
"""Seconds. A device that broke so soon after it recovered, LAPSES times in a row, must be in order for so long before it counts as
recovered; before that a recovery is told at once."""

LAPSES: Final = 2
"""A driver that is loaded anew makes and removes its nodes once or twice: that is no wavering yet."""


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of a device. Times are seconds of one clock.

    `reason` says what is wrong, whether the kubelet is told (`healthy` is false) or not yet; empty if nothing is.
    """

    healthy: bool
    reason: str = ""
    settled_at: float = 0.0
    """Until then it stays healthy."""
    recovered_at: float = float("-inf")
    lapses: int = 0
    """How often in a row it broke within WAVERING of its recovery."""
    good_since: float | None = None
    """Since when an unhealthy device is in order; None for every other."""


def first(reason: str) -> Health:
    """A device that is seen for the first time: nothing was promised of it, so it is told as it is."""
    return Health(not reason, reason)


def remembered(reason: str, settled_at: float) -> Health:
    """A device that an earlier process of ours advertised as healthy, or before this boot."""
    return Health(healthy=True, reason=reason, settled_at=settled_at)


def step(health: Health, reason: str, now: float) -> Health:
    """The health after a look that found `reason` (empty: in order)."""
    if health.healthy:
        if not reason or now < health.settled_at:
            return health if health.reason == reason else replace(health, reason=reason)
        again = now - health.recovered_at < WAVERING
        return replace(health, healthy=False, reason=reason, lapses=health.lapses + 1 if again else 0)
    if reason:
        same = health.reason == reason and health.good_since is None
        return health if same else replace(health, reason=reason, good_since=None)
    good_since = now if health.good_since is None else health.good_since
    if health.lapses >= LAPSES and now < good_since + WAVERING:
        return replace(health, good_since=good_since)
    return replace(health, healthy=True, reason="", recovered_at=now, good_since=None)


def settle(health: Health, until: float) -> Health:
    """What the device is made of changes just now: it settles until then. An unhealthy one has nothing to keep."""
    return replace(health, settled_at=max(until, health.settled_at)) if health.healthy else health


def settled(health: Health) -> Health:
    """It is certain how things stand: no settling any more."""
    return replace(health, settled_at=float("-inf")) if health.healthy else health


def due(health: Health) -> float | None:
    """When `step` would say something else although nothing new is seen; None if never."""
    if health.healthy:
        return health.settled_at if health.reason else None
    return None if health.good_since is None else health.good_since + WAVERING


def said(health: Health) -> str:
    """The reason, as it is told to people. Of a device that wavers it is the same whether it is there now or not: nothing comes of that yet."""
    if not health.healthy and health.lapses >= LAPSES:
        return f"{health.reason}; it came and went before, so it has to be there for {WAVERING:g} s"
    return health.reason
