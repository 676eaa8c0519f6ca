"""From the observers' notes to "held up by us": whose time a container without a CDI key waited. Pure.

For each request the observers give three moments, before us (00, 01) and behind us (99). The time from 01 to 99 is ours, less what one step of the runtime
costs at that moment (00 to 01: on a busy machine that is not nothing), less the time in which an agent was frozen by the harness: no program
answers while it is frozen, the runtime's request timeout ends that, and it is counted apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from chaoslab.ledger import Call, Span

LIMIT: Final = 0.25
"""Seconds that we may hold up a container without a CDI key."""

INDEXES: Final = ("00", "01", "99")

Key = tuple[str, str, str]
"""create or start, pod, container: each name is used once in a run."""


@dataclass(frozen=True, slots=True)
class Passage:
    """One request on its way past the plugins."""

    key: Key
    before: float
    at: float
    behind: float

    def ours(self, frozen: Sequence[Span]) -> float:
        """Seconds that are ours."""
        return self.behind - self.at - self.held(frozen) - (self.at - self.before)

    def held(self, frozen: Sequence[Span]) -> float:
        """Seconds in which an agent was frozen meanwhile (of two that were frozen at once the longer)."""
        return min(self.behind - self.at, sum(span.overlap(self.at, self.behind) for span in merged(frozen)))


@dataclass(frozen=True, slots=True)
class Delays:
    """What the requests of containers without a CDI key waited for."""

    measured: int
    late: tuple[tuple[Key, float], ...]
    """Those that we held up over `LIMIT` by ourselves."""
    longest: float
    """The longest time that was ours, in seconds."""
    step: float
    """The longest time of one step of the runtime, for comparison."""
    frozen: int
    """Those that were held up over `LIMIT` by a frozen agent, until the runtime threw it out or it went on."""
    longest_frozen: float
    queued: int
    """Those that waited over `LIMIT` in the runtime's own queue while a container with a key was with an agent."""
    longest_queued: float


def read(notes: Mapping[str, Iterable[str]]) -> dict[Key, Passage]:
    """The passages, from the observers' lines by index. A request that one of them did not see is left out."""
    times: dict[Key, dict[str, float]] = {}
    for index, lines in notes.items():
        for line in lines:
            parts = line.split(" ")
            if len(parts) == 4 and line.endswith("\n"):
                times.setdefault((parts[1], parts[2], parts[3].strip()), {})[index] = float(parts[0])
    return {
        key: Passage(key, *(at[index] for index in INDEXES)) for key, at in times.items() if len(at) == len(INDEXES)
    }


def measure(passages: Mapping[Key, Passage], calls: Iterable[Call], frozen: Sequence[Span]) -> Delays:
    """The delays of the keyless ones of `calls`."""
    asked = {(call.method, call.pod, call.container): call for call in calls}
    keyed = [passage for key, passage in passages.items() if key in asked and asked[key].keyed]
    mine = [passages[key] for key, call in asked.items() if not call.keyed and key in passages]
    ours = {passage.key: passage.ours(frozen) for passage in mine}
    held = [passage.held(frozen) for passage in mine]
    queued = [_queued(asked[passage.key].sent, passage.before, keyed) for passage in mine]
    return Delays(
        measured=len(mine),
        late=tuple((key, seconds) for key, seconds in ours.items() if seconds > LIMIT),
        longest=max(ours.values(), default=0.0),
        step=max((passage.at - passage.before for passage in mine), default=0.0),
        frozen=sum(seconds > LIMIT for seconds in held),
        longest_frozen=max(held, default=0.0),
        queued=sum(seconds > LIMIT for seconds in queued),
        longest_queued=max(queued, default=0.0),
    )


def _queued(sent: float, asked: float, keyed: Sequence[Passage]) -> float:
    """How long, of the time before the runtime came to ask the first plugin, an agent had a container with a key."""
    return sum(max(0.0, min(asked, other.behind) - max(sent, other.at)) for other in keyed)


def merged(spans: Sequence[Span]) -> list[Span]:
    """The spans with those that overlap joined, in order."""
    result: list[Span] = []
    for span in sorted(spans, key=lambda one: one.start):
        if result and span.start <= result[-1].end:
            last = result.pop()
            result.append(type(span)(last.start, max(last.end, span.end)))
        else:
            result.append(span)
    return result
