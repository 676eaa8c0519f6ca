"""How long the NRI half has been away, and whether devices suffer for it. Pure.

Without the NRI half no container with devices starts, but that is PreStartContainer's to say: an unhealthy device ends pods
for good. Only when the half stays away are the devices unhealthy, so that the scheduler looks for another node. The log says it sooner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from nri_cdi.kubelet.changes import Change

if TYPE_CHECKING:
    from collections.abc import Iterable

UNSAID: Final = 5.0
"""Seconds of absence that the log does not mention: a half that is replaced, and one that starts when we do, is there before."""


@dataclass(frozen=True, slots=True)
class Link:
    """The answers of the NRI half so far: since when (seconds) it is away, and what it or its absence says. Up: None and empty."""

    down_since: float | None = None
    problem: str = ""
    said: bool = False
    """Whether the log says that it is away."""


def answered(link: Link, problem: str | None, now: float) -> Link:
    """After the NRI half was asked: None, or what is wrong."""
    if problem is None:
        return Link()
    since = now if link.down_since is None else link.down_since
    return Link(since, problem, link.said or now - since >= UNSAID)


def change(before: Link, link: Link) -> Change | None:
    """What the log is to say after an answer: once that the half is away, and then that it is back."""
    if before.said == link.said:
        return None
    if link.said:
        return Change(f"the NRI half has not been there for {UNSAID:g} s: {link.problem}", alarming=True)
    return Change("the NRI half is there again")


def due(link: Link, after: float, starts: Iterable[float]) -> float | None:
    """When devices become unhealthy: `after` seconds of absence; None if the half is there, or `after` is 0 (never).

    What else began at a time of `starts` (our process, the kubelet) gets as long: both know nothing of the absence before.
    """
    if link.down_since is None or not after:
        return None
    return max(link.down_since, *starts) + after


def reason(link: Link, after: float, starts: Iterable[float], now: float) -> str:
    """Why every device is unhealthy now; empty if none is for this."""
    moment = due(link, after, starts)
    return (
        ""
        if moment is None or now < moment
        else f"the NRI half of nri-cdi is away for more than {after:g} s: {link.problem}"
    )
