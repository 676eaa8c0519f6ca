"""The thread that breaks the agent of one slot: killed, frozen, throttled, slowed, restarted, upgraded."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING, Final

from lab.trouble import LabError

from chaoslab.ledger import AGENT_ENDED, Span, dice

if TYPE_CHECKING:
    from chaoslab.ledger import Ledger
    from chaoslab.slots import Slot

KINDS: Final = ("kill", "kill", "freeze", "freeze", "throttle", "slow", "restart", "upgrade")
_BREATH: Final = (0.1, 0.8)  # seconds between two faults
_LAST_RESORT: Final = "Timeout (0:00:"  # how the interpreter begins what it writes when that alarm rings
_READY: Final = 8.0


class AgentFaults(threading.Thread):
    """Breaks the agent in `slot` until `stopping` is set, then leaves a sound one there. `error` is what ended it early, else None."""

    def __init__(self, slot: Slot, ledger: Ledger, seed: int, stopping: threading.Event) -> None:
        super().__init__(name=f"faults-{slot.index}")
        self._slot, self._ledger, self._stopping = slot, ledger, stopping
        self._rng = dice(seed, self.name)
        self._start_took = 0.0  # seconds that the last start took: as long as it was away it is there as well
        self.error: LabError | None = None

    def run(self) -> None:
        """One fault after the other."""
        try:
            while not self._stopping.wait(self._rng.uniform(*_BREATH) + self._start_took):
                self._one(self._rng.choice(KINDS), self._rng.random())
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
            self._freeze(amount * amount * 3)
        elif kind == "throttle":
            for _ in range(int(amount * 30)):
                self._freeze(0.025, kind)
                time.sleep(0.015)
        elif kind == "kill":
            self._ledger.fault(f"agent {kind}")
            slot.agent.kill()
            time.sleep(amount * 0.5)
            self._replace()
        elif kind == "slow":
            self._ledger.fault("agent stop")
            slot.agent.stop()
            self._replace(f"slow:{0.05 + amount * 1.5:.2f}")
            self._stopping.wait(0.5 + amount)
            self._ledger.fault("agent kill")
            slot.agent.kill()
            self._replace()
        elif kind == "restart":
            self._ledger.fault("agent stop")
            slot.agent.stop()
            self._replace()
        else:
            self._upgrade()

    def _freeze(self, seconds: float, kind: str = "freeze") -> None:
        start = time.monotonic()
        self._ledger.fault(f"agent {kind}")
        self._slot.agent.signal(signal.SIGSTOP)
        time.sleep(seconds)
        self._slot.agent.signal(signal.SIGCONT)
        self._ledger.frozen.append(Span(start, time.monotonic()))

    def _replace(self, variant: str = "") -> None:
        self._slot.agent = self._slot.fresh(variant)
        self._wait_ready()

    def _upgrade(self) -> None:
        """As a rolling update with both versions there at once: the new process waits for the slot, the old one is told to end."""
        old, new = self._slot.agent, self._slot.fresh()
        new.wait_log("is held by process", _READY)
        self._ledger.fault("agent upgrade")
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
        self._start_took = time.monotonic() - begun


def note_end(ledger: Ledger, subject: str, status: int, log: str) -> None:
    """An agent has ended that nobody had told to: a violation, unless it was its last resort.

    That alarm is against a hang that stops every thread, and it cannot tell that from having been frozen.
    """
    if _LAST_RESORT in log:
        ledger.outcomes["agent: ended itself after it was frozen"] += 1
    else:
        ledger.finding(AGENT_ENDED, subject, f"status {status}: {log[-500:]}")
