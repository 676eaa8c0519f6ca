"""The host's files, seen from where we run: under `/` on the machine itself, under `/host` or the like in a pod.

A pod sees its own file system, not the host's. Host paths are looked up under the host root, symbolic links followed inside it. The answer is
present, absent, or not visible from here; where only a part of the host is mounted below the root, what lies elsewhere is not visible.
"""

from __future__ import annotations

import enum
import errno
import logging
import os
import posixpath
import stat
from typing import Final

from nri_cdi.cdi import HostNode, HostNodeMissing, NotADeviceNode

LOG = logging.getLogger("nri_cdi.host")

_NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
"""The errors that say that nothing is there; all others say that we could not look."""

_LINKS_MAX: Final = 40
"""How many symbolic links one path may lead through: the kernel's own limit."""

_KINDS: Final = {
    stat.S_IFDIR: "a directory",
    stat.S_IFREG: "a regular file",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFSOCK: "a socket",
}
_TYPES: Final = {stat.S_IFBLK: "b", stat.S_IFCHR: "c", stat.S_IFIFO: "p"}


class Presence(enum.Enum):
    """Whether a path is on the host, as far as can be seen from here."""

    PRESENT = "present"
    ABSENT = "absent"
    NOT_VISIBLE = "not visible from here"


class HostRoot:
    """Device nodes and paths of the host below `root`. Nothing is remembered: each question is a look."""

    def __init__(self, root: str = "/") -> None:
        self._root = posixpath.normpath(root)
        self._whole = self._root == "/"
        self._said: set[str] = set()

    def device_node(self, path: str) -> HostNode:
        """The node at `path`, a symbolic link at its end not followed. Raises HostNodeMissing or NotADeviceNode."""
        try:
            found = os.lstat(path if self._whole else self._inside(path, follow=False))
        except (OSError, ValueError) as error:  # ValueError: a name that no path can have
            raise HostNodeMissing(path, getattr(error, "strerror", None) or str(error)) from error
        kind = _TYPES.get(stat.S_IFMT(found.st_mode))
        if kind is None:
            raise NotADeviceNode(path, _KINDS.get(stat.S_IFMT(found.st_mode), "something else"))
        numbers = (0, 0) if kind == "p" else (os.major(found.st_rdev), os.minor(found.st_rdev))
        return HostNode(kind, *numbers, stat.S_IMODE(found.st_mode))

    def presence(self, path: str) -> Presence:
        """Whether `path` leads to something on the host, links followed. What is not visible is logged once for each place."""
        try:
            place = path if self._whole else self._inside(path, follow=True)
            os.stat(place)  # noqa: PTH116  # on the request path
        except ValueError:  # a name that no path can have
            return Presence.ABSENT
        except OSError as error:
            if error.errno in _NOT_THERE and self._visible(path):
                return Presence.ABSENT
            self._say(path, error)
            return Presence.NOT_VISIBLE
        return Presence.PRESENT

    def _visible(self, path: str) -> bool:
        """Whether we would see `path` if it were there: the first directory that it leads to is there below the root."""
        if self._whole:
            return True
        try:
            place = self._inside(path, follow=True)
        except OSError:  # links that go round and round are all here
            return True
        first = place[len(self._root) :].lstrip("/").partition("/")[0]
        return os.path.lexists(posixpath.join(self._root, first))

    def _say(self, path: str, error: OSError) -> None:
        first = posixpath.normpath(path).lstrip("/").partition("/")[0]
        if first not in self._said:
            self._said.add(first)
            LOG.warning(
                "%s is not visible under the host root %s (%s); what is in /%s is taken as it is written",
                path,
                self._root,
                error.strerror,
                first,
            )

    def _inside(self, path: str, *, follow: bool) -> str:
        """The place below the root that `path` names on the host. Raises OSError as looking it up there would."""
        done: list[str] = []
        todo = [part for part in path.split("/") if part not in {"", "."}][::-1]
        links = 0
        while todo:
            part = todo.pop()
            if part == "..":
                done = done[:-1]
                continue
            here = posixpath.join(self._root, *done, part)
            if not todo and not follow:
                return here
            try:
                target = os.readlink(here)  # noqa: PTH115  # on the request path
            except OSError:
                done.append(part)  # not a link, or not there: the final look-up says which
                continue
            links += 1
            if links > _LINKS_MAX:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if target.startswith("/"):
                done = []
            todo += [step for step in target.split("/") if step not in {"", "."}][::-1]
        return posixpath.join(self._root, *done)
