"""The lock of a slot: two NRI halves with one name and index would both be called, and every injection would fail."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pathlib


class Taken(Exception):
    """Another process holds the slot; `pid` is what it wrote of itself, 0 if that cannot be read."""

    def __init__(self, path: pathlib.Path, pid: int) -> None:
        super().__init__(f"{path} is held by process {pid or 'unknown'}")
        self.path, self.pid = path, pid


class Slot:
    """Holds the lock file at `path` until the process ends or `release` is called."""

    def __init__(self, path: pathlib.Path) -> None:
        """Take the lock. Raises Taken, and OSError when the file cannot be made."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(self._fd, 32, 0).decode(errors="replace").strip()
            os.close(self._fd)
            raise Taken(path, int(text) if text.isdigit() else 0) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the slot to whoever waits for it."""
        os.close(self._fd)
