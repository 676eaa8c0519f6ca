"""The threads that break spec files and devices, and the one that stops and kills the runtime."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Final

from lab import mock
from lab.trouble import LabError

from chaoslab import world
from chaoslab.ledger import Span, dice

if TYPE_CHECKING:
    from pathlib import Path

    from lab.node import Node

    from chaoslab.ledger import Ledger

SPEC_KINDS: Final = ("break", "break in place", "tear", "tear", "remove", "rewrite", "move directory")
DEVICE_KINDS: Final = ("node", "library", "settings")
_GARBAGE: Final = ("", "{", "cdiVersion: [", "kind: chaos\n", "\0\0\0\0", "devices:\n- name: x\n")


class SpecFaults(threading.Thread):
    """Breaks the spec files of `node` and mends them, until `stopping` is set. After each fault both are whole again."""

    def __init__(self, node: Node, ledger: Ledger, seed: int, stopping: threading.Event) -> None:
        super().__init__(name="faults-specs")
        self._ledger, self._stopping, self._rng = ledger, stopping, dice(seed, "faults-specs")
        self._files = ((node.path(world.GPU_SPEC), world.gpu_spec()), (node.path(world.NIC_SPEC), world.nic_spec()))
        self._bystander = node.path(world.BYSTANDER_SPEC)

    def run(self) -> None:
        """One fault after the other."""
        while not self._stopping.wait(self._rng.uniform(0.04, 0.4)):
            path, content = self._rng.choice(self._files)
            kind, pause = self._rng.choice(SPEC_KINDS), self._rng.uniform(0.01, 0.25)
            # half of a YAML file may be a sound file with less in it, most of all where it ends with a line
            ends = [at + 1 for at, char in enumerate(content) if char == "\n"]
            cut = self._rng.choice(ends) if self._rng.random() < 0.7 else self._rng.randrange(len(content))
            garbage = self._rng.choice(_GARBAGE)
            self._ledger.fault(f"spec {kind}")
            if kind == "tear":
                self._tear(path, content, cut, pause)
            elif kind == "move directory":
                away = path.parent.with_name("cdi.away")
                path.parent.rename(away)
                time.sleep(pause)
                away.rename(path.parent)
            else:
                if kind == "break":
                    world.replace_file(path, garbage)
                elif kind == "break in place":
                    path.write_text(garbage)
                elif kind == "remove":
                    path.unlink()
                time.sleep(pause)
                world.replace_file(path, content)

    def _tear(self, path: Path, content: str, cut: int, pause: float) -> None:
        """A slow writer: the file is open, and half of it there. Meanwhile another spec file comes and goes, so that somebody looks."""
        with path.open("w") as file:
            file.write(content[:cut])
            file.flush()
            time.sleep(pause / 2)
            world.replace_file(
                self._bystander, world.nic_spec().replace("chaos.example.com/nic", "chaos.example.com/by")
            )
            time.sleep(pause)
            file.write(content[cut:])
        self._bystander.unlink()


class DeviceFaults(threading.Thread):
    """Removes device nodes and files of the host and makes them again, until `stopping` is set."""

    def __init__(self, node: Node, ledger: Ledger, seed: int, stopping: threading.Event) -> None:
        super().__init__(name="faults-devices")
        self._root, self._ledger, self._stopping = node.path("/"), ledger, stopping
        self._rng = dice(seed, self.name)

    def run(self) -> None:
        """One fault after the other."""
        while not self._stopping.wait(self._rng.uniform(0.02, 0.3)):
            kind, pause = self._rng.choice(DEVICE_KINDS), self._rng.uniform(0.0, 0.15)
            gpu, nic = self._rng.randrange(mock.COUNT), self._rng.randrange(world.NICS)
            self._ledger.fault(f"device {kind} removed")
            if kind == "node":
                (self._root / f"dev/chaos/nic_{nic}").unlink()
                time.sleep(pause)
                world.make_nic_node(self._root, nic)
                continue
            path, content = (
                (self._root / f"mock/lib/device_{gpu}.so", mock.library(gpu))
                if kind == "library"
                else (self._root / world.RICH_DIRECTORY[1:] / f"nic_{nic}.conf", world.nic_file(nic))
            )
            path.unlink()
            time.sleep(pause)
            world.replace_file(path, content)


class RuntimeFaults(threading.Thread):
    """Stops and kills containerd and starts it again, until `stopping` is set. `error` is what ended it early, else None."""

    def __init__(self, node: Node, ledger: Ledger, seed: int, stopping: threading.Event) -> None:
        super().__init__(name="faults-runtime")
        self._node, self._ledger, self._stopping = node, ledger, stopping
        self._rng = dice(seed, self.name)
        self.error: LabError | None = None

    def run(self) -> None:
        """One restart after the other."""
        while not self._stopping.wait(self._rng.uniform(4.0, 12.0)):
            killed, pause = self._rng.random() < 0.6, self._rng.choice((0.0, 0.0, 0.3))
            start = self._ledger.open_away = time.monotonic()
            self._ledger.fault("runtime kill" if killed else "runtime stop")
            try:
                with contextlib.ExitStack() as after:
                    after.callback(self._back, start)
                    (self._node.kill_daemon if killed else self._node.stop_daemon)()
                    time.sleep(pause)
                    self._node.start_daemon()
            except LabError as error:
                self.error = error
                return

    def _back(self, start: float) -> None:
        # a call that fails right behind the start may still be a consequence of it
        self._ledger.away.append(Span(start, time.monotonic() + 0.5))
        self._ledger.open_away = None
