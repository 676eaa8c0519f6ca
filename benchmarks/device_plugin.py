#!/usr/bin/env python3
"""The kubelet half with 10 000 devices in one resource, beside a device plugin in Go (benchmarks/go_device_plugin) with the same devices.

    .venv/bin/python benchmarks/device_plugin.py [--json] [--check] [--quick]

Each is a process of its own. It registers with a stand-in for the kubelet, which takes the time when bytes of ListAndWatch arrive and decodes nothing
meanwhile. FIFOs stand for device nodes, so no root is needed. A change is one node removed or made; it is over when the list that says so has arrived.
So is the replacement of the spec file, which has all devices and each time one more; the peer has no such thing.
GetPreferredAllocation chooses among all devices, and the encoding of their names by the stand-in is in its time. With `--check` the exit
status is 1 when a bound is broken. Where Go is missing, the peer's place says so.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import Popen
from typing import TYPE_CHECKING, Final, Self

import grpc

CHECKOUT: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "hack")]  # from a checkout that nobody has installed

# below the line that makes them importable
from cdilab.golib import Missing, build  # noqa: E402

from benchmarks.answer import cpu, rss  # noqa: E402
from benchmarks.bounds import Figure, distribution, options, report  # noqa: E402
from nri_cdi.kubelet import api  # noqa: E402
from nri_cdi.testing.plugin_client import PluginClient, address  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

MS: Final = 1000.0
GPU: Final = "device.example.com/gpu"
SIZE: Final = 64
PATIENCE: Final = 120.0
PAUSE: Final = 0.05
"""Seconds between two changes: each is one of its own, and what is done behind it is over before the next."""

SETTLED: Final = 0.5
"""Seconds before a spec file is replaced: who reads it has started anew after the one before."""

CHANGED: Final = 300.0
"""Milliseconds in which the kubelet has a change."""

GO_SOURCE: Final = Path(__file__).parent / "go_device_plugin"


class Node:
    """A node's directories below `root`, with so many devices and their spec file."""

    def __init__(self, root: Path, devices: int) -> None:
        self.root, self.devices = root, devices
        for directory in ("dev/mock", "etc/cdi", "kubelet/device-plugins"):
            (root / directory).mkdir(parents=True)
        for number in range(devices):
            os.mkfifo(self.node(number))
        self.write_specs()()

    def write_specs(self, more: int = 0) -> Callable[[], object]:
        """Write the spec file with so many devices more; what is returned puts it in its place."""
        self.devices += more
        plain = [
            {
                "name": f"device_{number}",
                "containerEdits": {
                    "deviceNodes": [{"path": f"/dev/mock/device_{number}", "type": "p"}],
                    "env": [f"DEVICE_{number}=1"],
                },
            }
            for number in range(self.devices)
        ]
        draft, path = self.root / "gpu.new", self.root / "etc/cdi/gpu.json"
        draft.write_text(json.dumps({"cdiVersion": "0.5.0", "kind": GPU, "devices": plain}))
        return lambda: draft.replace(path)

    def node(self, number: int) -> Path:
        """The node of a device."""
        return self.root / f"dev/mock/device_{number}"

    @property
    def kubelet(self) -> Path:
        """Where the kubelet's socket is."""
        return self.root / "kubelet/device-plugins"

    def ours(self) -> list[str]:
        """The command of the kubelet half."""
        command = [sys.executable, "-m", "nri_cdi", "device-plugin", "--resource", GPU, "--log-level", "error"]
        command += ["--cdi-dir", f"{self.root}/etc/cdi", "--kubelet-dir", f"{self.root}/kubelet"]
        return [*command, "--host-root", str(self.root), "--run-dir", f"{self.root}/run", "--unhealthy-after", "0"]

    def go(self) -> list[str]:
        """The command of the peer. Raises Missing."""
        return [str(build(GO_SOURCE, "go-device-plugin")), GPU, str(self.kubelet), f"{self.root}/dev/mock"]


class Kubelet:
    """Takes a plugin that registers in `directory` and notes when each of its lists arrives."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lists: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
        self._registered: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._pool = ThreadPoolExecutor(2)
        self._server = grpc.server(self._pool)
        handler = grpc.unary_unary_rpc_method_handler(
            self._register, api.RegisterRequest.FromString, api.Empty.SerializeToString
        )
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("v1beta1.Registration", {"Register": handler}),)
        )
        self._server.add_insecure_port(address(directory / "kubelet.sock"))
        self._channel: grpc.Channel | None = None

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._channel is not None:
            self._channel.close()
        self._server.stop(0).wait()
        self._pool.shutdown()

    def follow(self) -> PluginClient:
        """Wait for a registration and follow its lists; the connection for other calls."""
        path = self._directory / self._registered.get(timeout=PATIENCE)
        self._channel = grpc.insecure_channel(address(path))
        lists: grpc.UnaryStreamMultiCallable[api.Empty, bytes] = self._channel.unary_stream(
            "/v1beta1.DevicePlugin/ListAndWatch", api.Empty.SerializeToString
        )
        threading.Thread(target=self._take, args=(lists(api.Empty()),), daemon=True).start()
        return PluginClient.dial(GPU, path, PATIENCE)

    def arrival(self, devices: int, unhealthy: int) -> float:
        """When (`time.perf_counter`) the list with so many devices came of which so many are unhealthy."""
        while True:
            at, message = self._lists.get(timeout=PATIENCE)
            if (message.count(b"ealthy"), message.count(b"Unhealthy")) == (devices, unhealthy):
                return at

    def _register(self, request: api.RegisterRequest, _context: grpc.ServicerContext) -> api.Empty:
        self._registered.put(request.endpoint)
        return api.Empty()

    def _take(self, lists: Iterator[bytes]) -> None:
        with contextlib.suppress(grpc.RpcError):  # the end
            for message in lists:
                self._lists.put((time.perf_counter(), message))


def changes(node: Node, kubelet: Kubelet, times: int) -> list[float]:
    """Milliseconds from a change to the list that tells of it; another device each time: one that came and went would have to prove itself."""
    taken = []
    for number in range(times // 2):
        for unhealthy, change in ((1, os.unlink), (0, os.mkfifo)):
            time.sleep(PAUSE)
            began = time.perf_counter()
            change(node.node(number))
            taken.append((kubelet.arrival(node.devices, unhealthy) - began) * MS)
    return taken


def respecified(node: Node, kubelet: Kubelet, times: int) -> list[float]:
    """Milliseconds from the replacement of the spec file of all devices, each time with one more, to the list that has it."""
    taken = []
    for _ in range(times):
        os.mkfifo(node.node(node.devices))
        replace = node.write_specs(more=1)
        time.sleep(SETTLED)
        began = time.perf_counter()
        replace()
        taken.append((kubelet.arrival(node.devices, 0) - began) * MS)
    return taken


def timed(work: Callable[[], object], times: int) -> list[float]:
    """Milliseconds of each call."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append((time.perf_counter() - began) * MS)
    return taken


def measure(command: Callable[[Node], Sequence[str]], devices: int, part: int, *, ours: bool) -> list[Figure]:
    """All figures of one plugin; ours has bounds, and reads spec files. Raises Missing where it cannot be had."""
    bound = CHANGED if ours else None
    with tempfile.TemporaryDirectory(prefix="ndp-") as name:
        node = Node(Path(name), devices)
        argv = command(node)
        with Kubelet(node.kubelet) as kubelet:
            began = time.perf_counter()
            with Popen(argv) as process:
                try:
                    client = kubelet.follow()
                    first = (kubelet.arrival(devices, 0) - began) * MS
                    memory = rss(process)
                    spent, times = cpu(process), 120 // part
                    *rest, longest = distribution("one device changed", changes(node, kubelet, times))
                    spent = (cpu(process) - spent) / times
                    names = [f"device_{number}" for number in range(devices)]
                    some, calls = names[:SIZE], 400 // part
                    figures = [
                        Figure("first list, from the start", first, "ms"),
                        *rest,
                        Figure(longest.name, longest.value, "ms", bound),
                        Figure("one device changed, processor time", spent, "ms"),
                        *distribution(f"Allocate of {SIZE}", timed(lambda: client.allocate(some, PATIENCE), calls)),
                        *distribution(
                            f"GetPreferredAllocation of {SIZE}",
                            timed(lambda: client.preferred(names, SIZE, PATIENCE), calls // 4),
                        ),
                        Figure("memory with the first list", memory, "MiB"),
                    ]
                    if ours:
                        *most, last = distribution(
                            f"spec file of all {devices} replaced", respecified(node, kubelet, max(4, 20 // part))
                        )
                        figures += [*most, Figure(last.name, last.value, "ms", bound)]
                    return [*figures, Figure("memory in the end", rss(process), "MiB")]
                finally:
                    process.terminate()
                    process.wait(10)


def main() -> int:
    """Measure and print."""
    chosen = options(__doc__).parse_args()
    part = 10 if chosen.quick else 1
    devices = 10_000 // part
    groups = {f"nri-cdi device-plugin, {devices} devices": measure(Node.ours, devices, part, ours=True)}
    try:
        groups[f"a device plugin in Go, {devices} devices"] = measure(Node.go, devices, part, ours=False)
    except Missing as missing:
        print(f"a device plugin in Go: not measured: {missing}", file=sys.stderr)
    return report(groups, as_json=chosen.json, check=chosen.check)


if __name__ == "__main__":
    sys.exit(main())
