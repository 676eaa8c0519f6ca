"""A node without power: what a reboot takes away from a sandbox, and what it leaves."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lab.trouble import wait_until

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from lab.sandbox import Sandbox

_CGROUPS: Final = Path("/sys/fs/cgroup")
_VOLATILE: Final = ("/run/", "/var/lib/kubelet/", "/var/lib/containerd/")


def power_off(sandbox: Sandbox, spared: Collection[int]) -> None:
    """Kill all processes but those with the numbers `spared` (as seen from outside), and take away the mounts, cgroups and /run of the node."""
    keep = {1, *map(_inside, spared)}

    def others() -> list[str]:
        found = [path.name for path in sandbox.path("/proc").iterdir() if path.name.isdigit()]
        return [name for name in found if int(name) not in keep]

    def dead() -> bool:
        if left := others():
            # the shell is among those that it is to kill next time, and has ended by then
            sandbox.run("sh", "-c", f"kill -9 {' '.join(left)} 2>/dev/null; exit 0")
        return not left

    wait_until(dead, 20, "the end of the node's processes", 0.05)
    sandbox.run("sh", "-c", "".join(f"umount -l '{at}'\n" for at in _mounts(sandbox)) + "find /run -mindepth 1 -delete")
    for group in (_CGROUPS / sandbox.name, *_CGROUPS.glob(f"*/{sandbox.name}")):
        for directory, _, _ in os.walk(group, topdown=False):
            if Path(directory) != group:
                with contextlib.suppress(OSError):
                    Path(directory).rmdir()


def _inside(pid: int) -> int:
    """The number that a process has inside its PID namespace."""
    lines: Iterable[str] = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[-1]) for line in lines if line.startswith("NSpid:"))


def _mounts(sandbox: Sandbox) -> list[str]:
    """Where what the node's programs have mounted is, the latest first."""
    lines = sandbox.path("/proc/1/mounts").read_text().splitlines()
    places = [line.split()[1].encode().decode("unicode_escape") for line in lines]
    return [place for place in reversed(places) if place.startswith(_VOLATILE)]
