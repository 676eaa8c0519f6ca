"""The kernel's inotify for a list of directories, some of which may not exist yet. Linux; through the C library."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import struct
import termios
from typing import Final

_CREATE: Final = 0x100
_MOVED_TO: Final = 0x80
_MOVED_FROM: Final = 0x40
_DELETE: Final = 0x200
_CLOSE_WRITE: Final = 0x8
_ATTRIB: Final = 0x4
_DELETE_SELF: Final = 0x400
_MOVE_SELF: Final = 0x800
_ONLYDIR: Final = 0x01000000
_MASK_ADD: Final = 0x20000000  # two masks on one directory (a spec directory that is another's ancestor) are joined
_IGNORED: Final = 0x8000
_OVERFLOW: Final = 0x4000

_OF_A_DIRECTORY: Final = (
    _CREATE | _MOVED_TO | _MOVED_FROM | _DELETE | _CLOSE_WRITE | _ATTRIB | _DELETE_SELF | _MOVE_SELF | _ONLYDIR
)
_OF_AN_ANCESTOR: Final = _CREATE | _MOVED_TO | _DELETE_SELF | _MOVE_SELF | _ATTRIB | _ONLYDIR

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_HEAD: Final = struct.Struct("iIII")
_BUFFER: Final = 1 << 16
_NOTHING: Final = bytes(4)


class Watch:
    """Tells when something happened in one of `directories`; `close` when done.

    A directory that is not there is watched for from above. Raises OSError when the kernel refuses to
    watch at all (out of instances or watches).
    """

    def __init__(self, directories: tuple[str, ...]) -> None:
        self._directories = directories
        self.fd = _LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise _error("inotify_init1")
        self._spec: set[int] = set()  # the watches of the directories themselves
        try:
            self.renew()
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Stop watching."""
        os.close(self.fd)

    def pending(self) -> bool:
        """Whether something happened that `take` has not taken yet. Does not wait, reads nothing."""
        return fcntl.ioctl(self.fd, termios.FIONREAD, _NOTHING) != _NOTHING

    def take(self) -> bool:
        """Take what has happened; whether any of it may change what a scan finds."""
        relevant = False
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.fd, _BUFFER):
                at = 0
                while at < len(data):
                    watch, mask, _, size = _HEAD.unpack_from(data, at)
                    name = data[at + _HEAD.size : at + _HEAD.size + size].rstrip(b"\0")
                    at += _HEAD.size + size
                    relevant = relevant or self._relevant(watch, mask, name)
        return relevant

    def renew(self) -> None:
        """Watch what there is to watch now: to be called after something relevant happened, before a scan."""
        self._spec = set()
        for directory in self._directories:
            watch = self._follow(os.path.abspath(directory))  # noqa: PTH100  # pathlib costs memory here
            if watch is not None:
                self._spec.add(watch)

    def _follow(self, directory: str) -> int | None:
        """Watch everything that `directory` may come through or be replaced through, then itself; its watch, None if it is not there.

        Downwards, so that what comes while we look is seen by the watch above it. A part may be a symbolic link: the directory in which it lies
        is watched as well as the one it leads to.
        """
        self._add("/", _OF_AN_ANCESTOR)
        at = directory.find("/", 1)
        while at > 0:
            if self._add(directory[:at], _OF_AN_ANCESTOR) is None:
                return None
            at = directory.find("/", at + 1)
        return self._add(directory, _OF_A_DIRECTORY)

    def _add(self, path: str, mask: int) -> int | None:
        watch: int = _LIBC.inotify_add_watch(self.fd, os.fsencode(path), mask | _MASK_ADD)
        if watch >= 0:
            return watch
        if ctypes.get_errno() in {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP}:
            return None
        raise _error(f"inotify_add_watch {path}")

    def _relevant(self, watch: int, mask: int, name: bytes) -> bool:
        if mask & (_OVERFLOW | _DELETE_SELF | _MOVE_SELF | _IGNORED):
            return True
        if watch in self._spec:
            # `..data` is what a ConfigMap volume swaps
            return not name or name.endswith((b".json", b".yaml")) or name.startswith(b"..")
        return any(name == part for directory in self._directories for part in os.fsencode(directory).split(b"/"))


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
