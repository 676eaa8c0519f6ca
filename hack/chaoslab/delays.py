"""From the observers' notes to "held up by us": whose time a container without a CDI key waited. Pure.

For each request the observers give three moments, before us (00, 01) and behind us (99). The time from 01 to 99 is ours, less what one step of the runtime
costs at that moment (00 to 01: on a busy machine that is not nothing), less two times in which nobody could have answered: an agent was frozen by the
harness (the runtime's request timeout ends that, and it is counted apart), or a processor of the machine stood still (`beat.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from chaoslab.ledger import Span

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from chaoslab.ledger import Call, Fault

LIMIT: Final = 0.25
"""Seconds that we may hold up a container without a CDI key."""

BEFORE: Final = "01"
"""Of the observer whose note comes right before the request comes to us."""

INDEXES: Final = ("00", BEFORE, "99")

Key = tuple[str, str, str]
"""create or start, pod, container: each name is used once in a run."""


@dataclass(frozen=True, slots=True)
class Passage:
    """One request on its way past the plugins."""

    key: Key
    before: float
    at: float
    behind: float

    def ours(self, frozen: Sequence[Span], still: Sequence[Span]) -> float:
        """Seconds that are ours."""
        return self.behind - self.at - self.held([*frozen, *still]) - (self.at - self.before)

    def held(self, spans: Sequence[Span]) -> float:
        """Seconds of it that lie in one of the spans."""
        return _within(self.at, self.behind, spans)


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
    longest_still: float
    """The longest time that a processor stood still, while a request was measured or not."""


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


def spans(lines: Iterable[str]) -> list[Span]:
    """The times in which a processor stood still, from what the metronome wrote."""
    whole = (line.split() for line in lines if line.endswith("\n"))
    return [Span(float(start), float(end)) for start, end in whole]


def measure(
    passages: Mapping[Key, Passage], calls: Iterable[Call], frozen: Sequence[Span], still: Sequence[Span]
) -> Delays:
    """The delays of the keyless ones of `calls`."""
    asked = {(call.method, call.pod, call.container): call for call in calls}
    keyed = [passage for key, passage in passages.items() if key in asked and asked[key].keyed]
    mine = [passages[key] for key, call in asked.items() if not call.keyed and key in passages]
    ours = {passage.key: passage.ours(frozen, still) for passage in mine}
    held = [passage.held(frozen) for passage in mine]
    queued = [_queued(asked[passage.key].sent, passage.before, keyed, [*frozen, *still]) for passage in mine]
    return Delays(
        measured=len(mine),
        late=tuple((key, seconds) for key, seconds in ours.items() if seconds > LIMIT),
        longest=max(ours.values(), default=0.0),
        step=max((passage.at - passage.before for passage in mine), default=0.0),
        frozen=sum(seconds > LIMIT for seconds in held),
        longest_frozen=max(held, default=0.0),
        queued=sum(seconds > LIMIT for seconds in queued),
        longest_queued=max(queued, default=0.0),
        longest_still=max((span.end - span.start for span in still), default=0.0),
    )


def struck(hits: Iterable[Fault], passages: Collection[Passage]) -> int:
    """How many of these faults came while a request was with an agent."""
    return sum(any(one.at <= fault.at <= one.behind for one in passages) for fault in hits)


def _queued(sent: float, asked: float, keyed: Sequence[Passage], nobody: Sequence[Span]) -> float:
    """How long, of the time before the runtime came to ask the first plugin, an agent that could answer had a container with a key."""
    waits = ((max(sent, other.at), min(asked, other.behind)) for other in keyed)
    return sum(end - start - _within(start, end, nobody) for start, end in waits if start < end)


def _within(start: float, end: float, spans: Sequence[Span]) -> float:
    """Seconds from `start` to `end` that lie in one of the spans."""
    return sum(span.overlap(start, end) for span in merged(spans))


def merged(spans: Sequence[Span]) -> list[Span]:
    """The spans with those that overlap joined, in order."""
    result: list[Span] = []
    for span in sorted(spans, key=lambda one: one.start):
        if result and span.start <= result[-1].end:
            last = result.pop()
            result.append(Span(last.start, max(last.end, span.end)))
        else:
            result.append(span)
    return result
