"""The thread that breaks the agent of one slot: killed, frozen, throttled, slowed, restarted, upgraded and downgraded.

A request is with an agent for some milliseconds only, of the hundred that a creation takes. So half of the faults are aimed: they wait for the observer
before the agent to note a request, which comes to the agent next.
"""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING, Final

from lab.trouble import LabError

from chaoslab.ledger import AGENT_ENDED, Span, dice

if TYPE_CHECKING:
    from pathlib import Path

    from chaoslab.ledger import Ledger
    from chaoslab.slots import Slot

KINDS: Final = ("kill", "kill", "freeze", "freeze", "throttle", "slow", "restart", "upgrade")
"""Each round has all of them, in an order of its own."""

_BREATH: Final = (0.05, 0.45)  # seconds between two faults
_AIM: Final = 0.5  # seconds that an aimed fault waits for a request
_POLL: Final = 0.0005
_LAST_RESORT: Final = -signal.SIGALRM
_THERE: Final = 0.3  # seconds for which it is left alone behind a start, at most
_READY: Final = 8.0


class AgentFaults(threading.Thread):
    """Breaks the agent in `slot` until `stopping` is set, then leaves a sound one there. `requests` is a file that grows with each request.

    `error` is what ended it early, else None.
    """

    def __init__(self, slot: Slot, ledger: Ledger, seed: int, stopping: threading.Event, requests: Path) -> None:
        super().__init__(name=f"faults-{slot.index}")
        self._slot, self._ledger, self._stopping, self._requests = slot, ledger, stopping, requests
        self._rng = dice(seed, self.name)
        self._there = 0.0  # seconds for which it is left alone now
        self.error: LabError | None = None

    def run(self) -> None:
        """One fault after the other."""
        kinds: list[str] = []
        try:
            while not self._stopping.wait(self._rng.uniform(*_BREATH) + self._there):
                kinds = kinds or self._rng.sample(KINDS, len(KINDS))
                self._one(kinds.pop(), self._rng.random())
        except LabError as error:
            self.error = error

    def _one(self, kind: str, amount: float) -> None:
        """One fault; `amount` from 0 to 1 says how much of it."""
        slot = self._slot
        if (status := slot.agent.program.poll()) is not None:
            note_end(self._ledger, f"slot {slot.index}", status, slot.agent.log())
            self._replace()
            return
        if kind == "freeze":
            self._fault(kind)
            self._freeze(amount * amount * 3)
        elif kind == "throttle":
            self._fault(kind)
            for _ in range(int(amount * 30)):
                self._freeze(0.025)
                time.sleep(0.015)
        elif kind == "kill":
            self._fault(kind)
            slot.agent.kill()
            time.sleep(amount * 0.3)
            self._replace()
        elif kind == "slow":
            self._fault("stop")
            slot.agent.stop()
            self._replace(f"slow:{0.05 + amount * 1.5:.2f}")
            self._stopping.wait(0.3 + amount * 0.7)
            self._fault("kill")
            slot.agent.kill()
            self._replace()
        elif kind == "restart":
            self._fault("stop")
            slot.agent.stop()
            self._replace()
        else:
            self._upgrade()

    def _fault(self, kind: str) -> None:
        """Note a fault that comes now: each second time when a request comes, if one does."""
        if self._rng.random() < 0.5:
            size, end = self._requests.stat().st_size, time.monotonic() + _AIM
            while self._requests.stat().st_size == size and time.monotonic() < end:
                time.sleep(_POLL)
        self._ledger.fault(f"agent {kind}")

    def _freeze(self, seconds: float) -> None:
        start = time.monotonic()
        self._slot.agent.signal(signal.SIGSTOP)
        time.sleep(seconds)
        self._slot.agent.signal(signal.SIGCONT)
        self._ledger.frozen.append(Span(start, time.monotonic()))

    def _replace(self, variant: str = "") -> None:
        self._slot.agent = self._slot.fresh(variant)
        self._wait_ready()

    def _upgrade(self) -> None:
        """As a rolling update with both versions there at once: the new process waits for the slot, the old one is told to end."""
        old, new = self._slot.agent, self._slot.upgraded()
        new.wait_log("is held by process", _READY)
        self._fault("downgrade" if self._slot.old else "upgrade")
        old.stop()
        self._slot.agent = new
        self._wait_ready()

    def _wait_ready(self) -> None:
        """Wait until it serves again: where nothing ever serves, nothing is tested. The runtime may be away, so not for ever."""
        begun = time.monotonic()
        try:
            self._slot.agent.wait_ready(_READY)
        except LabError:
            if self._slot.agent.program.poll() is not None:
                raise
        self._there = min(_THERE, time.monotonic() - begun)  # as long as it was away


def note_end(ledger: Ledger, subject: str, status: int, log: str) -> None:
    """An agent has ended that nobody had told to: a violation, unless it was its last resort.

    That alarm is against a hang that stops every thread, and it cannot tell that from having been frozen.
    """
    if status == _LAST_RESORT:
        ledger.outcomes["agent: ended itself after it was frozen"] += 1
    else:
        ledger.finding(AGENT_ENDED, subject, f"status {status}: {log[-500:]}")
