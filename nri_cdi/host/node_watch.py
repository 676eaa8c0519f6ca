"""Device nodes that come and go: inotify on the directories they lie in. Made by a driver, by udev or by hand, each is seen."""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING, Final

from nri_cdi.host.inotify import Watch

if TYPE_CHECKING:
    from collections.abc import Iterable

_CLOSE_WRITE: Final = 0x8
_ATTRIB: Final = 0x4
_NOISE: Final = _CLOSE_WRITE | _ATTRIB
"""What also happens when a node is only used (every write to /dev/null is one), and changes nothing that we look at."""


class NodeWatch(Watch):
    """Tells when one of the nodes at `paths` may have come, gone or been replaced. `root` is where the host's file system is seen.

    A link inside the host's file system that leads elsewhere is not followed: who uses this looks again now and then.
    """

    def __init__(self, paths: Iterable[str], root: str = "/") -> None:
        whole = [posixpath.join(root, path.lstrip("/")) for path in paths]
        self._names = frozenset(os.fsencode(part) for path in whole for part in path.split("/"))
        super().__init__(tuple(sorted({posixpath.dirname(path) for path in whole})))

    def fileno(self) -> int:
        """For poll."""
        number: int = self.fd
        return number

    def _add(self, path: str, mask: int) -> int | None:
        return super()._add(path, mask & ~_NOISE)

    def _relevant(self, watch: int, mask: int, name: bytes) -> bool:
        return (name in self._names) if name else super()._relevant(watch, mask, name)
