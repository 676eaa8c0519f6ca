"""What happened when: faults, calls, spans and findings of one run. Times are seconds on the machine's monotonic clock."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that was broken."""

    at: float
    kind: str


@dataclass(frozen=True, slots=True)
class Call:
    """One CreateContainer or StartContainer, from the moment it was sent to its answer."""

    method: str
    pod: str
    container: str
    keyed: bool
    sent: float
    answered: float


@dataclass(frozen=True, slots=True)
class Span:
    """A time in which something lasted: a process was frozen, the runtime was away. `end` is infinite while it lasts."""

    start: float
    end: float

    def overlap(self, start: float, end: float) -> float:
        """How many seconds of it lie between `start` and `end`."""
        return max(0.0, min(self.end, end) - max(self.start, start))


@dataclass(frozen=True, slots=True)
class Finding:
    """A violation: which rule, on what, and what was seen."""

    rule: str
    subject: str
    seen: str


WITHOUT_DEVICES = "started without exactly its devices"
KEYLESS_CHANGED = "without a CDI key, refused or changed by us"
KEYLESS_DELAYED = "without a CDI key, held up over 250 ms by us"
NOT_RECOVERED = "not in order again after the faults"
AGENT_ENDED = "the agent ended by itself"
NOT_LOOKED_AT = "running, but could not be looked at"
RULES = (WITHOUT_DEVICES, KEYLESS_CHANGED, KEYLESS_DELAYED, NOT_RECOVERED, AGENT_ENDED, NOT_LOOKED_AT)


@dataclass(slots=True)
class Ledger:
    """Filled by many threads: each operation on it is one append or one addition under the interpreter's lock."""

    faults: list[Fault] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    frozen: list[Span] = field(default_factory=list)
    away: list[Span] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    open_away: float | None = None
    """Since when the runtime is away, while it is."""

    def fault(self, kind: str) -> None:
        """Note that something is broken now."""
        self.faults.append(Fault(time.monotonic(), kind))

    def finding(self, rule: str, subject: str, seen: str) -> None:
        """Note a violation."""
        self.findings.append(Finding(rule, subject, seen))

    def runtime_was_away(self, since: float) -> bool:
        """Whether the runtime was away at some time from `since` to now."""
        now = time.monotonic()
        if self.open_away is not None:
            return True
        return any(span.overlap(since, now) > 0 for span in self.away)

    def count(self, rule: str) -> int:
        """How many findings of a rule there are."""
        return sum(finding.rule == rule for finding in self.findings)


def hits(faults: list[Fault], calls: list[Call]) -> list[Fault]:
    """The faults that fell between a request and its answer."""
    return [fault for fault in faults if any(call.sent <= fault.at <= call.answered for call in calls)]


def dice(seed: int, name: str) -> random.Random:
    """The random decisions of one thread: each thread has its own sequence, the same for the same seed."""
    return random.Random(f"{seed}/{name}")  # noqa: S311 - decisions of a test, no secrets
