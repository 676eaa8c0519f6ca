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
_ON_THE_WAY: Final = _CREATE | _MOVED_TO | _MOVED_FROM | _DELETE | _DELETE_SELF | _MOVE_SELF | _ATTRIB | _ONLYDIR
_OF_A_FILE: Final = _CLOSE_WRITE | _ATTRIB | _DELETE_SELF | _MOVE_SELF

_LINKS_MAX: Final = 40
"""How many symbolic links one path may lead through: the kernel's own limit."""

_REFUSALS: Final = {errno.ENOSPC, errno.ENOMEM, errno.EMFILE, errno.ENFILE}
"""What the kernel says when it does not watch at all. Everything else is about the path: nothing that can be watched is there."""

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_HEAD: Final = struct.Struct("iIII")
_BUFFER: Final = 1 << 16
_NOTHING: Final = bytes(4)


class Watch:
    """Tells when something happened in one of `directories`; `close` when done.

    A directory that is not there is watched for from above. Files that have other names are watched themselves, see `follow`. Raises OSError
    when the kernel refuses to watch at all (out of instances or watches).
    """

    def __init__(self, directories: tuple[str, ...]) -> None:
        self._directories = directories
        self.fd = _LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise _error("inotify_init1")
        self._spec: set[int] = set()  # the watches of the directories themselves
        self._on_the_way: dict[
            int, set[bytes]
        ] = {}  # by watch, the names that matter there; none: what is watched is a file
        self._linked: tuple[str, ...] = ()
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
                    relevant = self._relevant(watch, mask, name) or relevant  # each is seen: a subclass takes notes
        return relevant

    def renew(self) -> None:
        """Watch what there is to watch now: to be called after something relevant happened, before a scan. Raises OSError."""
        before = self._spec | self._on_the_way.keys()
        self._spec, self._on_the_way = set(), {}
        for directory in self._directories:
            if self._follow(os.path.abspath(directory)):  # noqa: PTH100  # pathlib costs memory here
                watch = self._add(directory, _OF_A_DIRECTORY)
                if watch is not None:
                    self._spec.add(watch)
        for path in self._linked:
            if self._follow(os.path.abspath(path)):  # noqa: PTH100  # as above
                watch = self._add(path, _OF_A_FILE)
                if watch is not None:
                    self._on_the_way.setdefault(watch, set())
        for watch in before - self._spec - self._on_the_way.keys():
            _LIBC.inotify_rm_watch(self.fd, watch)  # one that is gone already is what we want

    def follow(self, linked: tuple[str, ...]) -> bool:
        """Watch these files of the spec directories wherever they lead: symbolic links, and files with several names.

        Returns whether they were others before: what happened to them before now was not seen then. Raises OSError.
        """
        if linked == self._linked:
            return False
        self._linked = linked
        self.renew()
        return True

    def _follow(self, path: str) -> bool:
        """Watch every directory that `path` leads through, for the name that it has there; whether all of them are there.

        Downwards, so that what comes while we look is seen by the watch above it. Any part may be a symbolic link.
        """
        if "\0" in path:  # no path can have that
            return False
        at, links = "/", 0
        todo = path.split("/")[::-1]
        while todo:
            part = todo.pop()
            if part in {"", "."}:
                continue
            if part == "..":
                at = os.path.dirname(at)  # noqa: PTH120  # pathlib costs memory here
                continue
            watch = self._add(at, _ON_THE_WAY)
            if watch is None:
                return False
            self._on_the_way.setdefault(watch, set()).add(os.fsencode(part))
            here = os.path.join(at, part)  # noqa: PTH118  # as above
            try:
                target = os.readlink(here)  # noqa: PTH115  # as above
            except OSError:  # no link, or not there: then so is what is below it
                at = here
                continue
            links += 1
            if links > _LINKS_MAX:
                return False
            at = "/" if target.startswith("/") else at
            todo += target.split("/")[::-1]
        return True

    def _add(self, path: str, mask: int) -> int | None:
        watch: int = _LIBC.inotify_add_watch(self.fd, os.fsencode(path), mask | _MASK_ADD)
        if watch >= 0:
            return watch
        if ctypes.get_errno() in _REFUSALS:
            raise _error(f"inotify_add_watch {path}")
        return None

    def _relevant(self, watch: int, mask: int, name: bytes) -> bool:
        if mask & _OVERFLOW:
            return True
        is_spec, names = watch in self._spec, self._on_the_way.get(watch)
        if not name:  # of what is watched itself; None: the watch was given up
            return is_spec or (names is not None and (not names or bool(mask & (_DELETE_SELF | _MOVE_SELF | _IGNORED))))
        if names is not None and name in names:
            return True
        # `..data` is what a ConfigMap volume swaps
        return is_spec and (name.endswith((b".json", b".yaml")) or name.startswith(b".."))


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
