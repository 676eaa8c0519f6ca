"""Where a device sits: its NUMA node and its PCI root, from sysfs."""

from __future__ import annotations

import os
import pathlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from nri_cdi.cdi import HostNode

_PCI_ROOT: Final = re.compile(r"(?:^|/)(pci[0-9a-f]{4,}:[0-9a-f]{2})(?:/|$)")
_KINDS: Final = {"b": "block", "c": "char"}


@dataclass(frozen=True, slots=True)
class Place:
    """The NUMA node and the PCI root complex (`pci0000:17`) of a device; None and empty where there is none, or it is not known."""

    numa: int | None = None
    root: str = ""


NOWHERE: Final = Place()
"""Of a device of which neither is known."""


def pci_root(path: str) -> str:
    """The PCI root complex in the real path of a device in sysfs; empty if it is not a PCI device."""
    found = _PCI_ROOT.search(path)
    return found[1] if found else ""


def numa_node(text: str) -> int | None:
    """The content of a `numa_node` file: None for -1, which is how the kernel says that there is none, and for anything that is no number."""
    return int(text) if text.strip().isascii() and text.strip().isdigit() else None


class Sysfs:
    """Looks places up in the host's sysfs. `root` is where the host's file system is seen; without a sysfs there, our own /sys is the same one."""

    def __init__(self, root: str = "/") -> None:
        of_host = pathlib.Path(root, "sys")
        self._sys = of_host if (of_host / "dev").is_dir() else pathlib.Path("/sys")

    def place(self, node: HostNode) -> Place:
        """Where the device of this node sits; nothing known for what sysfs does not have (FIFOs, devices without a driver model)."""
        if node.type not in _KINDS:
            return Place()
        # A link of sysfs stays inside it, so it is followed as it is wherever sysfs is mounted.
        real = os.path.realpath(self._sys / "dev" / _KINDS[node.type] / f"{node.major}:{node.minor}")
        return Place(self._numa(pathlib.Path(real)), pci_root(real))

    def _numa(self, device: pathlib.Path) -> int | None:
        """The NUMA node of the nearest device upwards that has one: a DRM node has it from its PCI device."""
        for directory in (device, *device.parents):
            if directory == self._sys:
                break
            try:
                return numa_node((directory / "numa_node").read_text())
            except OSError:
                continue
        return None
