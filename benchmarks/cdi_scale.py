"""Many devices: how long a snapshot takes, a change until it has effect, a lookup, and what requests feel of it. Beside it the Go library, where Go is.

    .venv/bin/python benchmarks/cdi_scale.py [--json] [--quick]

Times in milliseconds. Directories are made under the system's temporary directory and removed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "hack")]  # from a checkout that nobody has installed

from cdilab.golib import GoLibrary, Missing  # noqa: E402

from nri_cdi.cdi import Snapshot, packed, scan_directories  # noqa: E402
from nri_cdi.host.specs import Specs  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MS = 1000.0


def device(kind: str, name: str, mark: int) -> dict[str, Any]:
    """A device as a GPU vendor's tool writes it: nodes, mounts, a hook."""
    return {
        "name": name,
        "containerEdits": {
            "env": [f"DEVICE={kind}={name}", f"MARK={mark}"],
            "deviceNodes": [{"path": f"/dev/{name}", "hostPath": "/dev/null", "type": "c", "major": 195, "minor": 1}],
            "mounts": [
                {"hostPath": f"/usr/lib/{name}.so", "containerPath": f"/usr/lib/{name}.so", "options": ["ro", "bind"]}
            ],
        },
    }


def spec(kind: str, count: int, mark: int = 0) -> str:
    """A spec file in YAML's JSON form, as most are written."""
    devices = [device(kind, f"d{number}", mark) for number in range(count)]
    return json.dumps({"cdiVersion": "0.5.0", "kind": kind, "devices": devices})


def fill(directory: Path, files: int, devices: int) -> None:
    """So many files with so many devices together."""
    for number in range(files):
        (directory / f"{number}.json").write_text(spec(f"v.com/c{number}", devices // files))


def median(work: Callable[[], object], times: int) -> float:
    """The median time of one run."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken) * MS


@contextlib.contextmanager
def followed(directory: Path) -> Iterator[Specs]:
    """The agent's watcher on this directory."""
    specs = Specs((str(directory),))
    specs.start()
    thread = threading.Thread(target=specs.run)
    thread.start()
    try:
        yield specs
    finally:
        specs.stop()
        thread.join()


def must(specs: Specs) -> Snapshot:
    """The current snapshot; it comes."""
    snapshot = specs.current(60)
    if snapshot is None:
        raise SystemExit("no snapshot within a minute")
    return snapshot


def resident() -> float:
    """MiB of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / (1 << 20)


def change(path: Path, content: str) -> None:
    """Replace a file at once."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(content)
    temporary.rename(path)


def requests(specs: Specs, seconds: float, names: list[str]) -> list[float]:
    """Times of lookups as a request makes them, one after another for a while; each on the newest snapshot there is."""
    taken = []
    until = time.perf_counter() + seconds
    while (start := time.perf_counter()) < until:
        specs.snapshot.resolve(names)
        taken.append((time.perf_counter() - start) * MS)
        time.sleep(0.001)  # the next request is not there yet
    return taken


def summary(taken: list[float]) -> dict[str, float]:
    """Median, p99 and longest."""
    ordered = sorted(taken)
    return {"median": statistics.median(ordered), "p99": ordered[int(len(ordered) * 0.99)], "max": ordered[-1]}


def measure(directory: Path, files: int, devices: int, rounds: int) -> dict[str, Any]:
    """All about one set of files."""
    fill(directory, files, devices)
    result: dict[str, Any] = {"files": files, "devices": devices}
    before = resident()
    start = time.perf_counter()
    with followed(directory) as specs:
        snapshot = must(specs)
        result["first snapshot"] = (time.perf_counter() - start) * MS
        result["memory, MiB"] = resident() - before
        names = list(snapshot.devices)[:: max(devices // 8, 1)]
        result["lookup of 1"] = median(lambda: snapshot.resolve(names[:1]), 2000)
        size = devices // files
        effect, first = [], 0.0
        for number in range(rounds):
            path = directory / f"{number % files}.json"
            content = spec(f"v.com/c{number % files}", size, mark=number + 1)
            temporary = path.with_suffix(".tmp")
            temporary.write_text(content)
            start = time.perf_counter()
            temporary.rename(path)
            must(specs)
            effect.append((time.perf_counter() - start) * MS)
            first = first or effect[0]
        result["one changed file, first"] = first
        result["one changed file, then"] = statistics.median(effect[1:])
        one = [next(iter(must(specs).devices))]
        result["requests, quiet"] = summary(requests(specs, 2, one))
        stop = threading.Event()

        def changing() -> None:
            number = 1000
            while not stop.wait(0.02):
                number += 1
                change(directory / f"{files - 1}.json", spec(f"v.com/c{files - 1}", size, mark=number))

        child = os.fork()  # the writer is another process: it must not hold our interpreter
        if child == 0:
            with contextlib.suppress(BaseException):
                changing()
            os._exit(0)
        try:
            result["requests, reloading"] = summary(requests(specs, 4, one))
        finally:
            os.kill(child, 9)
            os.waitpid(child, 0)
    return result


def beside(directory: Path, rounds: int) -> dict[str, Any]:
    """The Go library on the same files: a scan of everything, which is what it does after each change."""
    scan = packed.encode(scan_directories([str(directory)]))
    ours = {"scan in one process": median(lambda: scan_directories([str(directory)]), rounds), "handed over": len(scan)}
    try:
        with GoLibrary() as library:
            library.ask({"dirs": [str(directory)]})
            return {**ours, "Go, scan": median(lambda: library.ask({"dirs": [str(directory)]}), rounds)}
    except Missing as missing:
        return {**ours, "Go, scan": str(missing)}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    options = parser.parse_args()
    part = 10 if options.quick else 1
    results = []
    for files, devices in ((1, 10), (1000 // part, 10_000 // part), (1, 5000 // part)):
        with tempfile.TemporaryDirectory() as made:
            result = measure(Path(made), files, devices, 12)
            result["beside"] = beside(Path(made), 3)
            results.append(result)
    if options.json:
        print(json.dumps(results, indent=2))
        return 0
    for result in results:
        print(f"{result.pop('files')} files, {result.pop('devices')} devices")
        for name, value in result.items():
            shown = value if isinstance(value, dict) else {"": value}
            texts = (
                f"{key} {number:.3f}".strip() if isinstance(number, float) else f"{key} {number}"
                for key, number in shown.items()
            )
            print(f"  {name:28} {'   '.join(texts)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
