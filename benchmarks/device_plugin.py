#!/usr/bin/env python3
"""The kubelet half with many devices in one resource: `benchmarks/device_plugin.py [--devices N]`.

A real `nri-cdi device-plugin` serves devices below a directory (FIFOs stand for device nodes, so no root is needed) to a stand-in for the
kubelet, which asks over gRPC as the kubelet does. Measured is what the kubelet sees: the time to the first whole list, to the list after one
node has gone or come (a look at all nodes is in it), and to the answers; and the process's memory.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

from nri_cdi.testing.kubelet import FakeKubelet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GPU = "device.example.com/gpu"
PATIENCE = 120.0
UPDATES = 20
ALLOCATIONS = 200
SIZE = 64


def lay_out(root: pathlib.Path, count: int) -> None:
    """The nodes, the spec, and the kubelet's directory, below `root`."""
    for directory in ("dev/mock", "etc/cdi", "kubelet/device-plugins"):
        (root / directory).mkdir(parents=True)
    for number in range(count):
        os.mkfifo(root / f"dev/mock/device_{number}")
    devices = [
        {
            "name": f"device_{n}",
            "containerEdits": {
                "deviceNodes": [{"path": f"/dev/mock/device_{n}", "type": "p"}],
                "env": [f"DEVICE_{n}=1"],
            },
        }
        for n in range(count)
    ]
    spec = {"cdiVersion": "0.5.0", "kind": GPU, "devices": devices}
    (root / "etc/cdi/gpu.json").write_text(json.dumps(spec))


@contextlib.contextmanager
def plugin(root: pathlib.Path) -> Iterator[subprocess.Popen[bytes]]:
    """The process under test, ended in the end."""
    command = [sys.executable, "-m", "nri_cdi", "device-plugin", "--resource", GPU, "--log-level", "error"]
    command += ["--cdi-dir", f"{root}/etc/cdi", "--kubelet-dir", f"{root}/kubelet", "--host-root", str(root)]
    command += ["--run-dir", f"{root}/run", "--unhealthy-after", "0"]
    with subprocess.Popen(command) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(10)


def memory(process: subprocess.Popen[bytes], field: str) -> float:
    """A field of the process's status, in MiB."""
    for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise LookupError(field)


def processor(process: subprocess.Popen[bytes]) -> float:
    """Seconds of processor time that the process has used."""
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def timed(work: Callable[[], object]) -> float:
    """Milliseconds that `work` takes."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def run(count: int) -> dict[str, float]:
    """All numbers, in milliseconds and MiB."""
    with tempfile.TemporaryDirectory(prefix="ndp-") as name:
        root = pathlib.Path(name)
        lay_out(root, count)
        with FakeKubelet(root / "kubelet/device-plugins") as kubelet, plugin(root) as process:

            def allocatable(expected: int) -> None:
                kubelet.wait_for(lambda: kubelet.allocatable(GPU) == expected, PATIENCE)

            numbers = {"first list after the process's start": timed(lambda: allocatable(count))}
            numbers["memory with the first list"] = memory(process, "VmRSS")
            updates, spent = [], processor(process)
            for number in range(UPDATES):  # another one each time: one that came and went would have to prove itself
                node = root / f"dev/mock/device_{number}"
                node.unlink()
                updates.append(timed(lambda: allocatable(count - 1)))
                os.mkfifo(node)
                updates.append(timed(lambda: allocatable(count)))
            numbers["one device changed, median"] = statistics.median(updates)
            numbers["one device changed, worst"] = max(updates)
            numbers["one device changed, processor time"] = (processor(process) - spent) * 1000 / len(updates)
            allocations = []
            for _ in range(ALLOCATIONS):
                began = time.perf_counter()
                ids = kubelet.allocate(GPU, SIZE).ids
                allocations.append((time.perf_counter() - began) * 1000)
                kubelet.free(GPU, ids)
            numbers[f"preference and Allocate of {SIZE}, median"] = statistics.median(allocations)
            numbers[f"preference and Allocate of {SIZE}, p99"] = statistics.quantiles(allocations, n=100)[98]
            ids = tuple(f"device_{n}" for n in range(SIZE))
            client = kubelet.connection(GPU)
            alone = [timed(lambda: client.allocate(ids, PATIENCE)) for _ in range(ALLOCATIONS)]
            numbers[f"Allocate of {SIZE} alone, median"] = statistics.median(alone)
            numbers[f"Allocate of {SIZE} alone, p99"] = statistics.quantiles(alone, n=100)[98]
            numbers["memory in the end"] = memory(process, "VmRSS")
            numbers["memory at most"] = memory(process, "VmHWM")
            return numbers


def main() -> int:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=10_000, help="how many (default: %(default)s)")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="default: text")
    arguments = parser.parse_args()
    numbers = run(arguments.devices)
    if arguments.output == "json":
        print(
            json.dumps(
                {"devices": arguments.devices} | {name: round(value, 3) for name, value in numbers.items()}, indent=2
            )
        )
        return 0
    print(f"{arguments.devices} devices in one resource")
    for name, value in numbers.items():
        print(f"  {name:42} {value:9.2f} {'MiB' if name.startswith('memory') else 'ms'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
