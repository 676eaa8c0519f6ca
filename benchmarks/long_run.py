"""A hundred thousand containers while 5 000 devices are reloaded again and again: no deadline missed, no long wait, no growth.

    .venv/bin/python benchmarks/long_run.py [--json] [--check] [--quick]

The agent is `nri-cdi nri`, a process of its own as on a node; the runtime is the least that an NRI plugin can serve (hack/lab/driver.py). Containers come one after
another, as containerd sends them: in turns without devices, and with one to four devices of a spec file that does not change. Beside it stands a file of
5 000 devices that is replaced as soon as its last content has had effect and a pause has passed.

Containers without devices are asked for all the time. Those with devices wait for what is pending, by design, so they are asked for in the pauses; how long one waits
that comes right behind a change, and whether it is refused to be tried again, is measured apart, once for each reload.
With `--check` the exit status is 1 when a bound is broken.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

CHECKOUT: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "hack")]  # from a checkout that nobody has installed

# below the line that makes them importable
from lab.driver import REQUEST_TIMEOUT, Driver, container_request  # noqa: E402

from benchmarks.answer import KIND, NODES, Place, rss  # noqa: E402
from benchmarks.bounds import Figure, options, percentile, report  # noqa: E402
from benchmarks.cdi_scale import Files, kind_of, request  # noqa: E402
from nri_cdi.kubelet.allocate import allocate  # noqa: E402

if TYPE_CHECKING:
    from subprocess import Popen

REQUESTS: Final = 100_000
DEVICES: Final = 5000
P999: Final = 50.0
"""Milliseconds."""

GROWTH: Final = 0.5
"""MiB of memory, from the first tenth of the run to the last: what an allocator leaves lying about, and no leak of a hundred thousand of anything."""

PAUSE: Final = 0.5
"""Seconds from a reload's effect to the next change."""

_OVERDUE: Final = "did not come to a decision in time"
_SETTLING: Final = "have not been read yet"


@dataclass(slots=True)
class Seen:
    """What happened. Times in milliseconds; `behind` are those while a change is pending, `retried` how many of them were refused to be tried again.

    `memory` is that of the agent in MiB, in the pause behind each reload.
    """

    times: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    behind: list[float] = field(default_factory=list)
    effects: list[float] = field(default_factory=list)
    retried: int = 0
    missed: int = 0
    wrong: list[str] = field(default_factory=list)


def payloads() -> list[bytes]:
    """In turns: without devices, and with one to four."""
    mixed = []
    for count in range(1, len(NODES) + 1):
        ids = [f"d{number}" for number in range(count)]
        ours = allocate(ids, KIND, prefix="cdi.k8s.io/", random_id=bytes([count] * 16), guard=False).annotations
        mixed += [container_request({}).SerializeToString(), container_request(dict(ours)).SerializeToString()]
    return mixed


class Run:
    """The requests of one run and the reloads beside them."""

    def __init__(self, driver: Driver, agent: Popen[bytes], files: Files) -> None:
        self.seen = Seen()
        self._driver, self._agent, self._files = driver, agent, files
        self._change = files.prepare(0)
        self._probe = request(kind_of(0))
        self._mixed = payloads()
        self._number = 0
        self._changed = self._settled = 0.0  # when; not settled: a reload is under way

    def until(self, count: int) -> None:
        """Ask until so many requests were made."""
        while len(self.seen.times) < count:
            now = time.perf_counter()
            if self._settled and now > self._settled + PAUSE:
                self.seen.memory.append(rss(self._agent))
                self._change()
                self._changed, self._settled = time.perf_counter(), 0.0
                self._behind()
            elif not self._settled and len(self.seen.times) % 100 == 0:
                self._behind()
            self._ask()

    def settle(self) -> None:
        """Wait for the reload that is under way."""
        while not self._settled:
            self._behind()
            time.sleep(0.02)

    def _behind(self) -> None:
        """One container of ours while the change is pending: it waits, and is answered or refused to be tried again."""
        answer, seconds = self._driver.timed("CreateContainer", self._probe)
        self._judge(seconds)
        self.seen.behind.append(seconds * 1000)
        if answer.payload is not None:
            self._settled = time.perf_counter()
            self.seen.effects.append((self._settled - self._changed) * 1000)
            self._change = self._files.prepare(0)
        elif _SETTLING in answer.status.message:
            self.seen.retried += 1
        else:
            self.seen.wrong.append(answer.status.message)

    def _ask(self) -> None:
        """The next container; without devices while a change is pending."""
        self._number += 1
        payload = self._mixed[self._number % len(self._mixed) if self._settled else 0]
        answer, seconds = self._driver.timed("CreateContainer", payload)
        self._judge(seconds)
        self.seen.times.append(seconds * 1000)
        if answer.payload is None:
            self.seen.wrong.append(answer.status.message)
            self.seen.missed += _OVERDUE in answer.status.message

    def _judge(self, seconds: float) -> None:
        self.seen.missed += seconds > REQUEST_TIMEOUT


def measure(place: Place, requests: int, devices: int) -> list[Figure]:
    """The whole run."""
    files = Files(place.root / "cdi", 1, devices)
    with Driver(place.socket) as driver, place.agent("nri") as agent:
        driver.accept()
        run = Run(driver, agent, files)
        run.settle()
        run.until(requests // 20)  # what is used for the first time is loaded then
        run.seen = Seen()
        start = time.perf_counter()
        run.until(requests)
        taken = time.perf_counter() - start
    seen = run.seen
    for text in sorted(set(seen.wrong))[:5]:
        print(f"long_run: refused: {text}", file=sys.stderr)
    times = seen.times
    tenth = max(len(seen.memory) // 10, 1)
    early, late = min(seen.memory[:tenth]), min(seen.memory[-tenth:])
    return [
        Figure(
            "requests",
            len(times),
            "",
            note=f"in {taken:.0f} s, beside {len(seen.effects)} reloads of {devices} devices",
        ),
        Figure("deadline missed, the runtime's or ours", seen.missed, "", 0),
        Figure("refused", len(seen.wrong), "", 0),
        Figure("answer, median", statistics.median(times), "ms"),
        Figure("answer, p99", percentile(times, 0.99), "ms"),
        Figure("answer, p99.9", percentile(times, 0.999), "ms", P999),
        Figure("answer, longest", max(times), "ms"),
        Figure("memory of nri, the first tenth", early, "MiB"),
        Figure("memory of nri, the last tenth", late, "MiB", early + GROWTH),
        Figure("reload, to effect, median", statistics.median(seen.effects), "ms"),
        Figure(
            "behind a change, waits at most",
            max(seen.behind),
            "ms",
            note=f"{len(seen.behind)} asked, {seen.retried} refused to be tried again",
        ),
    ]


def main() -> int:
    """Run and print."""
    chosen = options(__doc__).parse_args()
    part = 10 if chosen.quick else 1
    with tempfile.TemporaryDirectory(prefix="nri-cdi-long-") as made:
        figures = measure(Place(Path(made)), REQUESTS // part, DEVICES // part)
    return report({"long run": figures}, as_json=chosen.json, check=chosen.check)


if __name__ == "__main__":
    sys.exit(main())
