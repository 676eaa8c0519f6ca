"""Devices without hardware: what a vendor's driver and its CDI spec would bring, in files.

Device N is a character device with major 89, which has no driver here. That makes it a proof of access: opening it
gives ENXIO ("No such device or address") where the device cgroup lets the open through to the (absent) driver, and
EPERM ("Operation not permitted") where it does not.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

KIND: Final = "device.example.com/gpu"
MAJOR: Final = 89
COUNT: Final = 8

_HEAD: Final = f"""\
cdiVersion: "0.5.0"
kind: {KIND}
containerEdits:
  env:
    - MOCK_DRIVER=1
devices:
"""

_DEVICE: Final = """\
  - name: device_{n}
    containerEdits:
      env:
        - MOCK_DEVICE_{n}=/dev/mock/device_{n}
      deviceNodes:
        - path: /dev/mock/device_{n}
          type: c
          major: {major}
          minor: {n}
      mounts:
        - hostPath: /mock/lib/device_{n}.so
          containerPath: /mock/lib/device_{n}.so
          options: [ro, bind]
"""


def name(number: int) -> str:
    """The qualified CDI name of device `number`."""
    return f"{KIND}=device_{number}"


def library(number: int) -> str:
    """What is written in the library of device `number`, so that a container can tell which one it sees."""
    return f"library of mock device {number}\n"


def spec(count: int = COUNT) -> str:
    """The CDI spec of devices 0 to `count - 1`, as YAML: for each its node, its library and a variable."""
    return _HEAD + "".join(_DEVICE.format(n=number, major=MAJOR) for number in range(count))


def create(root: Path, count: int = COUNT) -> None:
    """Make the device nodes, the libraries and the spec /etc/cdi/device.example.com-gpu.yaml below `root`. Nodes need CAP_MKNOD."""
    for directory in ("dev/mock", "mock/lib", "etc/cdi"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        node = root / "dev/mock" / f"device_{number}"
        node.unlink(missing_ok=True)
        os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(MAJOR, number))
        node.chmod(0o666)  # whatever the umask
        (root / "mock/lib" / f"device_{number}.so").write_text(library(number))
    (root / "etc/cdi/device.example.com-gpu.yaml").write_text(spec(count))
