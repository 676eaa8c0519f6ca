"""A look at the spec directories by one who has looked before: only what changed is read again, and the rest is what it was.

The process that reads (`scan`) is told what is known of each file; `merge` puts its answer together with what was known. Pure, but for `identity_of`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nri_cdi.cdi.files import Scan, SpecFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nri_cdi.cdi.files import RejectedFile, SpecDirectory

Identity = tuple[int, ...]
"""What tells a file from what it was before: device, inode, size, times of content and of inode (ns); one error number if it cannot be looked at."""

Key = tuple[int, str]
"""A file as a scan names it: the priority of its directory and its path."""


def identity_of(path: str) -> Identity:
    """The identity of what is at `path` now, symbolic links followed."""
    try:
        return identity(os.stat(path))  # noqa: PTH116 - on the request path where the kernel does not watch for us
    except OSError as error:
        return (error.errno or 0,)
    except ValueError:  # a name that no path can have
        return (0,)


def identity(status: os.stat_result) -> Identity:
    """The identity of the file with this status."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@dataclass(frozen=True, slots=True)
class SeenFile:
    """A spec file at one look.

    `identity` is None if the file may change without its identity changing, because its last change is too near. `content` is None if
    it is what the looker knew. Not `settled`: it is open for writing, or not valid and just written.
    """

    path: str
    priority: int
    identity: Identity | None
    settled: bool
    content: SpecFile | RejectedFile | None
    links: bool = False
    """Whether its content has another name too, so that it may change without anything happening in the spec directory."""

    @property
    def key(self) -> Key:
        """What the file is known under."""
        return self.priority, self.path


@dataclass(frozen=True, slots=True)
class Look:
    """One look. `identities` are those of the directories, in their order."""

    directories: tuple[SpecDirectory, ...]
    identities: tuple[Identity | None, ...]
    files: tuple[SeenFile, ...]


@dataclass(frozen=True, slots=True)
class Memory:
    """What is known after a look.

    `read` has what need not be read again while its identity stays; `seen` the identity of every path that was looked at, None where only a new
    look tells; `contents` what counts for each file; `linked` the files that have other names; `unsettled` those whose last good content is kept.
    """

    directories: tuple[SpecDirectory, ...]
    read: Mapping[Key, Identity]
    seen: Mapping[str, Identity | None]
    contents: Mapping[Key, SpecFile | RejectedFile]
    linked: tuple[str, ...] = ()
    unsettled: bool = False

    def says_the_same(self, other: Memory) -> bool:
        """Whether both looks amount to the same scan."""
        mine, theirs = self.contents, other.contents
        return (
            self.directories == other.directories
            and len(mine) == len(theirs)
            and all(content is theirs.get(key) for key, content in mine.items())
        )

    def is_stale(self) -> bool:
        """Whether anything that was looked at is not what it was. Asks the file system about each path."""
        return any(known is None or known != identity_of(path) for path, known in self.seen.items())


NOTHING_KNOWN = Memory((), {}, {}, {})
"""Before the first look."""


def merge(look: Look, before: Memory) -> tuple[Scan, Memory]:
    """The scan that the look amounts to, and what is known after it.

    A file that was good keeps its content until it has settled. Raises ValueError if the look leaves out the content of a file that is not known.
    """
    read: dict[Key, Identity] = {}
    seen: dict[str, Identity | None] = {}
    contents: dict[Key, SpecFile | RejectedFile] = {}
    unsettled = False
    for directory, found in zip(look.directories, look.identities, strict=True):
        seen[directory.path] = found
    for file in look.files:
        key = file.key
        known = before.contents.get(key)
        content = known if file.content is None or file.content == known else file.content
        if content is None:
            raise ValueError(f"{file.path}: nothing is known of it")
        if not file.settled:
            unsettled = True
            if isinstance(known, SpecFile):
                content = known
        elif file.identity is not None:
            read[key] = file.identity
        contents[key] = content
        seen[file.path] = file.identity
    linked = tuple(file.path for file in look.files if file.links)
    return Scan(look.directories, tuple(contents.values())), Memory(
        look.directories, read, seen, contents, linked, unsettled
    )
