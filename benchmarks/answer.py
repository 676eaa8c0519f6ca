"""How long nri-cdi takes: from its start to its registration, and for an answer; and how much memory it needs.

    python benchmarks/answer.py [--json] [--starts N] [--requests N]

The agent is a process of its own, as it is on a node; the runtime is the least that an NRI plugin can serve (hack/lab/driver.py),
the kubelet that of nri_cdi.testing. Requests are CreateContainer with 4 KB, as of an ordinary pod: one that was allocated 4 devices,
and one without any. An answer's time is from the first byte sent to the last one received, over a unix socket. Needs neither root nor a
container runtime; prints what it measured beside what we aim at, or JSON with the same numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

CHECKOUT: Final = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "hack")]  # from a checkout that nobody has installed

# below the line that makes them importable
from lab.driver import Driver, container_request  # noqa: E402
from lab.trouble import LabError  # noqa: E402

from nri_cdi.kubelet.allocate import allocate  # noqa: E402
from nri_cdi.testing.kubelet import FakeKubelet  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

KIND: Final = "bench.example.com/dev"
NODES: Final = ("/dev/null", "/dev/zero", "/dev/full", "/dev/urandom")
"""Device nodes that every Linux has."""

TARGETS: Final = {"registered_ms": 300.0, "nri_mib": 26.0, "run_mib": 64.0}
MIB: Final = 1 << 20
WARM_UP: Final = 50


def write_spec(directory: Path) -> None:
    """A spec with a device for each of NODES: the node, a variable, a mount."""
    devices = [
        {
            "name": f"d{number}",
            "containerEdits": {
                "env": [f"BENCH_{number}={node}"],
                "deviceNodes": [{"path": f"/dev/bench{number}", "hostPath": node}],
                "mounts": [{"hostPath": "/etc", "containerPath": f"/bench/{number}", "options": ["rbind", "ro"]}],
            },
        }
        for number, node in enumerate(NODES)
    ]
    spec = {"cdiVersion": "0.6.0", "kind": KIND, "devices": devices}
    (directory / "bench.json").write_text(json.dumps(spec))


class Place:
    """A directory with all that an agent needs: its spec, its sockets, its log."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.socket = root / "nri.sock"
        for name in ("cdi", "kubelet/device-plugins"):
            (root / name).mkdir(parents=True)
        write_spec(root / "cdi")

    @contextmanager
    def agent(self, command: str, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
        """`nri-cdi COMMAND`, ended at the end."""
        argv = [sys.executable, "-m", "nri_cdi", command, "--cdi-dir", str(self.root / "cdi")]
        argv += ["--nri-socket", str(self.socket), "--run-dir", str(self.root / "run"), *flags]
        env = {key: value for key, value in os.environ.items() if not key.startswith("NRI_")}
        with (
            (self.root / "log").open("ab") as log,
            subprocess.Popen(argv, stderr=log, env={**env, "PYTHONPATH": str(CHECKOUT)}) as process,
        ):
            try:
                yield process
            finally:
                process.terminate()


def rss(process: subprocess.Popen[bytes]) -> float:
    """Resident memory in MiB."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def cpu(process: subprocess.Popen[bytes]) -> float:
    """Milliseconds of processor time that it has used, without its children's."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")  # utime and stime, proc(5)


def starts(place: Place, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds from the start of `nri-cdi nri` to its registration, and of processor time until then, `count` times."""
    times, used = [], []
    for _ in range(count):
        with Driver(place.socket) as driver:
            started = time.monotonic()
            with place.agent("nri") as process:
                times.append((driver.accept() - started) * 1000)
                used.append(cpu(process))
    return times, used


def answers(driver: Driver, annotations: dict[str, str], count: int) -> dict[str, float]:
    """Microseconds for the answer to a CreateContainer with these annotations."""
    payload = container_request(annotations).SerializeToString()
    answer = driver.call("CreateContainer", payload)
    if answer.payload is None or bool(answer.payload) != bool(annotations):
        raise SystemExit(f"answer: the agent does not do what is measured here: {answer}")
    for _ in range(WARM_UP):
        driver.call("CreateContainer", payload)
    times = sorted(driver.timed("CreateContainer", payload)[1] * 1e6 for _ in range(count))
    return {
        "median": round(statistics.median(times), 1),
        "p99": round(times[len(times) * 99 // 100], 1),
        "request_bytes": len(payload),
        "answer_bytes": len(answer.payload),
    }


def measure(place: Place, start_count: int, request_count: int) -> dict[str, Any]:
    """Everything, as what `--json` prints."""
    registered, used = starts(place, start_count)
    ids = [f"d{number}" for number in range(len(NODES))]
    ours = dict(allocate(ids, KIND, prefix="cdi.k8s.io/", random_id=bytes(16), guard=False).annotations)
    with Driver(place.socket) as driver, place.agent("nri") as nri:
        driver.accept()
        times = {"ours": answers(driver, ours, request_count), "not_ours": answers(driver, {}, request_count)}
        nri_mib = rss(nri)
    kubelet_dir = place.root / "kubelet"
    with (
        Driver(place.socket) as driver,
        FakeKubelet(kubelet_dir / "device-plugins") as kubelet,
        place.agent("run", "--resource", KIND, "--kubelet-dir", str(kubelet_dir)) as run,
    ):
        driver.accept()
        kubelet.wait_for(lambda: kubelet.allocatable(KIND) == len(NODES), 10)
        answers(driver, ours, WARM_UP)
        run_mib = rss(run)
    return {
        "registered_ms": {
            "best": round(min(registered), 1),
            "median": round(statistics.median(registered), 1),
            "worst": round(max(registered), 1),
            "cpu": round(statistics.median(used), 1),
        },
        "rss_mib": {"nri": round(nri_mib, 1), "run": round(run_mib, 1)},
        "answer_us": times,
        "starts": start_count,
        "requests": request_count,
        "targets": TARGETS,
    }


def text(result: dict[str, Any]) -> str:
    """The numbers for people."""
    registered, memory = result["registered_ms"], result["rss_mib"]
    lines = [
        f"start to registered   {registered['median']:7.1f} ms    of {result['starts']}: {registered['best']:.1f} to {registered['worst']:.1f}, {registered['cpu']:.0f} of processor time   (aim: {TARGETS['registered_ms']:g})",
        f"memory of nri         {memory['nri']:7.1f} MiB   (aim: under {TARGETS['nri_mib']:g})",
        f"memory of run         {memory['run']:7.1f} MiB   (aim: under {TARGETS['run_mib']:g})",
    ]
    for name, label in (("ours", "answer, 4 devices"), ("not_ours", "answer, not ours")):
        one = result["answer_us"][name]
        lines.append(
            f"{label:<21} {one['median']:7.1f} us    p99 {one['p99']:.1f}"
            f"   ({result['requests']} requests of {one['request_bytes']} bytes, answers of {one['answer_bytes']})"
        )
    return "\n".join(lines)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--starts", type=int, default=10, metavar="N", help="how often it is started (default: 10)")
    parser.add_argument("--requests", type=int, default=2000, metavar="N", help="requests of each kind (default: 2000)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nri-cdi-bench-") as directory:
        place = Place(Path(directory))
        try:
            result = measure(place, options.starts, options.requests)
        except (TimeoutError, LabError) as error:
            print(f"answer: {error}; the agent's log:\n{(place.root / 'log').read_text()}", file=sys.stderr)
            return 1
    print(json.dumps(result, indent=2) if options.json else text(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
