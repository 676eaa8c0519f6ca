"""Device nodes that come and go: inotify on the directories they lie in. Made by a driver, by udev or by hand, each is seen."""

from __future__ import annotations

import os
import posixpath
from collections import Counter
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
        self._root = root
        self._nodes: dict[bytes, set[str]] = {}
        self._count: Counter[str] = Counter()  # of the paths in each directory
        self._touched: set[str] = set()
        self._all = False
        self._note(paths)
        super().__init__(tuple(sorted(self._count)))

    def change(self, new: Iterable[str], gone: Iterable[str]) -> None:
        """Watch these paths as well, and no longer those; all of them as they are now. To be called before a look at them. Raises OSError."""
        self._note(new)
        for path in gone:
            directory, name = self._place(path)
            self._nodes[name].remove(path)
            if not self._nodes[name]:
                del self._nodes[name]
            self._count[directory] -= 1
            if not self._count[directory]:
                del self._count[directory]
        self._directories = tuple(sorted(self._count))
        self.renew()

    def fileno(self) -> int:
        """For poll."""
        number: int = self.fd
        return number

    def touched(self) -> frozenset[str] | None:
        """The paths at which something may have changed by what has been taken since the last call; None: at any."""
        touched = None if self._all else frozenset(self._touched)
        self._touched, self._all = set(), False
        return touched

    def _place(self, path: str) -> tuple[str, bytes]:
        directory, _, name = posixpath.join(self._root, path.lstrip("/")).rpartition("/")
        return directory, os.fsencode(name)

    def _note(self, paths: Iterable[str]) -> None:
        for path in paths:
            directory, name = self._place(path)
            self._nodes.setdefault(name, set()).add(path)
            self._count[directory] += 1

    def _add(self, path: str, mask: int) -> int | None:
        return super()._add(path, mask & ~_NOISE)

    def _relevant(self, watch: int, mask: int, name: bytes) -> bool:
        nodes = self._nodes.get(name, ()) if name else ()
        self._touched.update(nodes)
        if super()._relevant(watch, mask, name):  # a directory itself, or what it is reached through
            self._all = True
        return bool(nodes) or self._all
