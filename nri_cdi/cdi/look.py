"""A look at the spec directories by one who has looked before: only what changed is read again, and the rest is what it was.

The process that reads (`scan`) is told what is known of each file and answers what is different; `merge` puts that together with what was known, so that the
work of a look goes with what changed. Pure, but for `identity_of`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nri_cdi.cdi.errors import Rule, SpecError
from nri_cdi.cdi.files import RejectedFile, Scan, SpecFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nri_cdi.cdi.blocks import Block
    from nri_cdi.cdi.files import SpecDirectory

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
    """A spec file that was read at a look.

    `identity` is None if the file may change without its identity changing, because its last change is too near. Not `settled`: it is open
    for writing, or not valid and just written. `blocks`, on the way from who read it, as in `written.Written`: who asked has the devices that are left out.
    """

    path: str
    priority: int
    identity: Identity | None
    settled: bool
    content: SpecFile | RejectedFile
    blocks: tuple[Block | int, ...] = ()

    @property
    def key(self) -> Key:
        """What the file is known under."""
        return self.priority, self.path


@dataclass(frozen=True, slots=True)
class Look:
    """One look. `identities` are those of the directories, in their order.

    `files` are those that are not as the looker knew them; of the others `gone` are no longer there, and the rest is what it was. `linked`: the paths of
    all files whose content has another name too, so that it may change without anything happening in the spec directory.
    """

    directories: tuple[SpecDirectory, ...]
    identities: tuple[Identity | None, ...]
    files: tuple[SeenFile, ...]
    gone: frozenset[Key] = frozenset()
    linked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Memory:
    """What is known after a look.

    `read` has what need not be read again while its identity stays; `seen` the identity of every path that was looked at, None where only a new
    look tells; `contents` what counts for each file, in scan order; `linked` the files that have other names; `unsettled`: the last good content of one is kept.
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
    """The scan that the look amounts to, and what is known after it. The looker was told what `before` has read.

    A file that was good keeps its content until it has settled. One that was not contributes nothing until then: half of a YAML file may be a sound
    file with less in it.
    """
    found = {file.key: file for file in look.files}
    read, contents = dict(before.read), dict(before.contents)
    for key in (look.gone | (before.contents.keys() - before.read.keys())) - found.keys():
        read.pop(key, None)
        del contents[key]
    unsettled = False
    for key, file in found.items():
        known = contents.get(key)
        content = known if known is not None and file.content == known else file.content
        read.pop(key, None)
        if not file.settled:
            unsettled = True
            if isinstance(known, SpecFile):
                content = known
            elif isinstance(content, SpecFile):
                rejected = _being_written(content)
                content = known if known == rejected else rejected
        elif file.identity is not None:
            read[key] = file.identity
        contents[key] = content
    if not found.keys() <= before.contents.keys():
        contents = {key: contents[key] for key in sorted(contents, key=_scan_order)}
    seen: dict[str, Identity | None] = {path: known for (_, path), known in read.items()}
    seen |= {file.path: file.identity for file in look.files}
    seen |= {directory.path: now for directory, now in zip(look.directories, look.identities, strict=True)}
    return Scan(look.directories, tuple(contents.values())), Memory(
        look.directories, read, seen, contents, look.linked, unsettled
    )


def _being_written(file: SpecFile) -> RejectedFile:
    fault = SpecError(
        file.path, 0, 0, "", Rule.UNREADABLE, None, "the file is open for writing", "it is read when it is closed"
    )
    return RejectedFile(file.path, file.priority, (fault,), file.spec.kind)


def _scan_order(key: Key) -> tuple[int, bytes]:
    priority, path = key
    return priority, os.fsencode(path)
