"""Many devices: a snapshot's time, a change until it has effect, lookups, memory, requests during reloads. Beside it the Go library, where Go is.

    .venv/bin/python benchmarks/cdi_scale.py [--json] [--check] [--quick]

The agent is `nri-cdi nri`, a process of its own as on a node; the runtime is the least that an NRI plugin can serve (hack/lab/driver.py). A change is a spec
file replaced by `rename`. It has effect when a container that asks for a device right behind it is answered: such a container waits for the new snapshot,
and is refused, to be tried again, where that takes longer than it may wait. A stall counts less the time that the kernel let our threads wait for a processor. Requests during reloads are of containers without devices, which wait for nothing: one a
millisecond, in turns without and with a file that changes all the time, so that what the machine does besides hits both. With `--check` the exit status is 1
when a bound is broken.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

CHECKOUT: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "hack")]  # from a checkout that nobody has installed

# below the line that makes them importable
from cdilab.golib import GoLibrary, Missing  # noqa: E402
from lab.driver import Driver, container_request  # noqa: E402

from benchmarks.answer import Place, rss  # noqa: E402
from benchmarks.bounds import Figure, distribution, options, percentile, report  # noqa: E402
from nri_cdi.cdi import Snapshot, scan_directories  # noqa: E402
from nri_cdi.host.specs import Specs  # noqa: E402
from nri_cdi.kubelet.allocate import allocate  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from subprocess import Popen

MS: Final = 1000.0
EFFECT: Final = 20.0
"""Milliseconds in which one changed file among many has effect."""

STALL: Final = 20.0
"""Milliseconds for which no answer may stand still."""

RELOADING: Final = 1.5
"""How much longer the p99 of an answer may be while specs are read."""

LOOKUP: Final = 1.5
"""How much longer a lookup may take among many devices than among ten: it is the same work, and this is what caches make of it."""

NRI_MIB: Final = 26.0
"""Memory of `nri-cdi nri` with ten devices."""


def device(name: str, mark: int) -> dict[str, Any]:
    """A device as a GPU vendor's tool writes it: variables, a node, a mount."""
    return {
        "name": name,
        "containerEdits": {
            "env": [f"DEVICE={name}", f"MARK={mark}"],
            "deviceNodes": [{"path": f"/dev/{name}", "hostPath": "/dev/null", "type": "c", "major": 1, "minor": 3}],
            "mounts": [{"hostPath": "/etc", "containerPath": f"/usr/lib/{name}", "options": ["ro", "bind"]}],
        },
    }


def spec(kind: str, devices: int, mark: int = 0) -> str:
    """A spec file in YAML's JSON form, as many are written."""
    return json.dumps(
        {"cdiVersion": "0.5.0", "kind": kind, "devices": [device(f"d{at}", mark) for at in range(devices)]}
    )


def kind_of(number: int) -> str:
    """The kind of the file of this number."""
    return f"v.com/c{number}"


class Files:
    """So many spec files in a directory, with so many devices together; `change` replaces one of them by another content."""

    def __init__(self, directory: Path, files: int, devices: int) -> None:
        self.directory, self.files, self.devices = directory, files, devices // files
        self.pause = max(0.2, self.devices * 1e-4)
        """Seconds between two changes where they come one after another: a node starts about five pods in a second, each of which may bring a file."""
        self._marks = count(1)
        for number in range(files):
            (directory / f"{number}.json").write_text(spec(kind_of(number), self.devices))

    def prepare(self, number: int) -> Callable[[], object]:
        """Write the new content of a file beside it: what is left to do is to put it in its place."""
        path = self.directory / f"{number}.json"
        temporary = path.with_suffix(".tmp")
        old = path.read_text()
        mark = old.partition("MARK=")[2].partition('"')[0]
        temporary.write_text(old.replace(f"MARK={mark}", f"MARK={next(self._marks)}"))
        return lambda: temporary.rename(path)


@contextlib.contextmanager
def followed(directory: Path) -> Iterator[Specs]:
    """The agent's watcher on this directory, in this process."""
    specs = Specs((str(directory),))
    specs.start()
    thread = threading.Thread(target=specs.run)
    thread.start()
    try:
        yield specs
    finally:
        specs.stop()
        thread.join()


def first_snapshot(directory: Path) -> tuple[Snapshot, float]:
    """The first snapshot, and the milliseconds that it took, the start of the reading process included."""
    start = time.perf_counter()
    with followed(directory) as specs:
        snapshot = specs.current(60)
        taken = (time.perf_counter() - start) * MS
    if snapshot is None:
        raise SystemExit("cdi_scale: no snapshot within a minute")
    return snapshot, taken


def lookup(snapshot: Snapshot, times: int = 2000) -> float:
    """Microseconds for one name, the least of several medians."""
    names = list(snapshot.devices)[:: max(len(snapshot.devices) // 64, 1)]
    for name in names:
        snapshot.resolve([name])
    medians = []
    for _ in range(5):
        taken = []
        for at in range(times // 5):
            start = time.perf_counter()
            snapshot.resolve([names[at % len(names)]])
            taken.append(time.perf_counter() - start)
        medians.append(statistics.median(taken) * 1e6)
    return min(medians)


def request(kind: str) -> bytes:
    """A CreateContainer of a container with one device of this kind; none: without devices."""
    if not kind:
        return container_request({}).SerializeToString()
    allocation = allocate(["d0"], kind, prefix="cdi.k8s.io/", random_id=bytes(16), guard=False)
    return container_request(dict(allocation.annotations)).SerializeToString()


def to_effect(driver: Driver, files: Files, number: int) -> tuple[float, bool]:
    """Milliseconds from the change of a file until a container that asks for its device is answered; whether at the first try."""
    payload = request(kind_of(number))
    change = files.prepare(number)
    start = time.perf_counter()
    change()
    refused = False
    while driver.call("CreateContainer", payload).payload is None:
        refused = True
        time.sleep(0.002)
    return (time.perf_counter() - start) * MS, not refused


def end_reading(agent: Popen[bytes]) -> None:
    """End the agent's reading process, as happens when nothing has changed for a long time."""
    for child in Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split():
        os.kill(int(child), 9)
    for thread in Path(f"/proc/{agent.pid}/task").iterdir():
        for child in (thread / "children").read_text().split():
            os.kill(int(child), 9)


class Queue:
    """How long the threads of the agent and of this process have waited for a processor so far, in milliseconds: what the machine does besides."""

    def __init__(self, agent: Popen[bytes]) -> None:
        self._stats = [
            task / "schedstat" for pid in (agent.pid, "self") for task in Path(f"/proc/{pid}/task").iterdir()
        ]

    def waited(self) -> float:
        """Till now."""
        return sum(int(stat.read_text().split()[1]) for stat in self._stats) / 1e6


def requests(driver: Driver, queue: Queue, seconds: float, files: Files | None) -> list[tuple[float, float]]:
    """Milliseconds of answers to containers without devices, and how much of each a thread waited for a processor.

    With `files`, while one of them changes again and again.
    """
    payload = request("")
    taken: list[tuple[float, float]] = []
    start = changed = time.perf_counter()
    change = None if files is None else files.prepare(files.files - 1)
    while (now := time.perf_counter()) < start + seconds:
        if files is not None and now > changed + files.pause:
            if change is None:
                change = files.prepare(files.files - 1)
            change()
            change, changed = None, time.perf_counter()
        before = queue.waited()
        time_taken = driver.timed("CreateContainer", payload)[1] * MS
        taken.append((time_taken, queue.waited() - before))
        time.sleep(0.001)  # the next container is not there yet
    return taken


def served(files: Files, place: Place, rounds: int, seconds: float) -> list[Figure]:
    """What the agent does with these files, in a process of its own."""
    with Driver(place.socket) as driver, place.agent("nri") as agent:
        driver.accept()
        while driver.call("CreateContainer", request(kind_of(0))).payload is None:
            time.sleep(0.02)
        first = [to_effect(driver, files, 0)]
        memory = rss(agent)
        time.sleep(1)  # the reading process that has read so much is replaced
        warm = []
        for number in range(rounds):
            warm.append(to_effect(driver, files, number * 7 % files.files))
            time.sleep(0.3)
        end_reading(agent)
        cold = to_effect(driver, files, 0)
        queue = Queue(agent)
        pairs: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
        for _ in range(4):
            pairs[0].extend(requests(driver, queue, seconds / 4, None))
            pairs[1].extend(requests(driver, queue, seconds / 4, files))
            while driver.call("CreateContainer", request(kind_of(0))).payload is None:
                time.sleep(0.02)
        after = rss(agent)
    times = [taken for taken, _ in [*first, *warm]]
    refused = sum(not at_once for _, at_once in [*first, *warm])
    quiet, reloading = ([time for time, _ in part] for part in pairs)
    stalls = sum(time > STALL for time in reloading)
    own = sum(time - waited > STALL for time, waited in pairs[1])
    small = files.devices <= 10
    return [
        Figure("a changed file, to effect, median", statistics.median(times), "ms", EFFECT if small else None),
        Figure(
            "a changed file, to effect, longest", max(times), "ms", note=f"{refused} of {len(times)} refused at first"
        ),
        Figure("the same, reading process not there", cold[0], "ms", note="" if cold[1] else "refused at first"),
        *distribution("answer, quiet", quiet),
        Figure("answer, reloading, median", statistics.median(reloading), "ms", note=f"of {len(reloading)}"),
        Figure("answer, reloading, p99", percentile(reloading, 0.99), "ms", RELOADING * percentile(quiet, 0.99)),
        Figure("answer, reloading, longest", max(reloading), "ms"),
        Figure(
            f"stalls over {STALL:g} ms, reloading",
            own,
            "",
            0,
            f"and {stalls - own} in which a thread waited for a processor",
        ),
        Figure("memory of nri", memory, "MiB", NRI_MIB if files.files * files.devices <= 10 else None),
        Figure("memory of nri, after the reloads", after, "MiB"),
    ]


def beside(directory: Path, rounds: int) -> list[Figure]:
    """The Go library on the same files: a scan of everything, which is what it does after each change. Its bound is nobody's."""

    def timed(work: Callable[[], object]) -> float:
        taken = []
        for _ in range(rounds):
            start = time.perf_counter()
            work()
            taken.append((time.perf_counter() - start) * MS)
        return statistics.median(taken)

    ours = Figure("all files read, this library", timed(lambda: scan_directories([str(directory)])), "ms")
    try:
        with GoLibrary() as library:
            library.ask({"dirs": [str(directory)]})
            return [
                ours,
                Figure("all files read, Go library", timed(lambda: library.ask({"dirs": [str(directory)]})), "ms"),
            ]
    except Missing as missing:
        print(f"cdi_scale: no Go library beside it: {missing}", file=sys.stderr)
        return [ours]


def main() -> int:
    """Measure and print."""
    chosen = options(__doc__).parse_args()
    part = 10 if chosen.quick else 1
    groups: dict[str, list[Figure]] = {}
    least = 0.0
    for number, devices in ((1, 10), (1000 // part, 10_000 // part), (1, 5000 // part)):
        with tempfile.TemporaryDirectory(prefix="nri-cdi-scale-") as made:
            place = Place(Path(made))
            files = Files(place.root / "cdi", number, devices)
            snapshot, first = first_snapshot(place.root / "cdi")
            taken = lookup(snapshot)
            least = least or taken
            groups[f"{number} files, {devices} devices"] = [
                Figure("first snapshot", first, "ms"),
                Figure("lookup of one device", taken, "us", LOOKUP * least, "as long among ten"),
                *served(files, place, 20 if (devices <= 10_000 and number != 1) or devices == 10 else 6, 16 / part),
                *beside(place.root / "cdi", 3),
            ]
    return report(groups, as_json=chosen.json, check=chosen.check)


if __name__ == "__main__":
    sys.exit(main())
