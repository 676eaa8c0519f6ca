"""Spec directories read: the only place of this package that reads spec files."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from typing import TYPE_CHECKING, Final

from nri_cdi.cdi.blocks import UNKNOWN
from nri_cdi.cdi.document import SIZE_MAX
from nri_cdi.cdi.errors import Rule, SpecError
from nri_cdi.cdi.files import DEFAULT_DIRECTORIES, DirectoryState, RejectedFile, Scan, SpecDirectory, SpecFile
from nri_cdi.cdi.load import examine
from nri_cdi.cdi.look import Look, SeenFile, identity, identity_of
from nri_cdi.cdi.paths import clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nri_cdi.cdi.blocks import Judged
    from nri_cdi.cdi.look import Identity, Key

SETTLE: Final = 1.0
"""Seconds after its last change in which a file that is not valid is taken for half-written."""

OPEN_MAX: Final = 10.0
"""Seconds after its last change in which a file that is open for writing is taken for half-written; then somebody just keeps it open."""

_TICK: Final = 0.02
"""Seconds. The kernel's clock for file times stands still for up to 10 ms, so two changes within one tick leave the same times."""

_PART: Final = 1 << 20
"""Bytes read at once."""

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFSOCK: "a socket",
}


def scan_directories(directories: Sequence[str] = DEFAULT_DIRECTORIES) -> Scan:
    """The spec files of these directories; an empty list means the default ones.

    Spec files are the entries whose name ends in exactly `.json` or `.yaml`, hidden ones included; directories are not entered. Whatever is
    wrong with a file or directory is in the scan and stops nothing else. Reads nothing that could block.
    """
    seen = look(directories, {}, {}, leases=False)
    return Scan(seen.directories, tuple(file.content for file in seen.files))


def look(
    directories: Sequence[str], known: Mapping[Key, Identity], judged: Mapping[Key, Judged], *, leases: bool
) -> Look:
    """What is different in these directories from what is `known`: what is as it was is not read, nor are devices that were `judged` before.

    With `leases` the kernel is asked who writes to a file. That may send SIGIO to this process, which must ignore it.
    """
    found: list[SpecDirectory] = []
    identities: list[Identity | None] = []
    files: list[SeenFile] = []
    there: set[Key] = set()
    linked: list[str] = []
    for priority, directory in enumerate(directories or DEFAULT_DIRECTORIES):
        path = clean(directory)
        identities.append(_lasting(identity_of(path)))
        try:
            names = sorted(_spec_names(path), key=os.fsencode)
        except FileNotFoundError:
            found.append(SpecDirectory(path, priority, DirectoryState.MISSING))
        except (OSError, ValueError) as error:
            hint = "give a directory" if isinstance(error, NotADirectoryError) else "make it readable, or leave it out"
            fault = _unreadable(path, f"the spec directory cannot be read: {_reason(error)}", hint)
            found.append(SpecDirectory(path, priority, DirectoryState.ERROR, fault))
        else:
            found.append(SpecDirectory(path, priority, DirectoryState.PRESENT))
            folder = os.path.join(path, "")  # noqa: PTH118 - startup time
            for name in names:
                key = priority, folder + name
                now, links = _named(key[1])
                if links:
                    linked.append(key[1])
                there.add(key)
                if known.get(key) != now:
                    files.append(_seen(key, now, judged.get(key, UNKNOWN), leases=leases))
    return Look(tuple(found), tuple(identities), tuple(files), frozenset(known.keys() - there), tuple(linked))


def _spec_names(path: str) -> Iterator[str]:
    with os.scandir(path) as entries:
        for entry in entries:
            # Behind the last dot of the name, so that a file called just `.yaml` is one too.
            if entry.name.endswith((".json", ".yaml")) and not entry.is_dir(follow_symlinks=False):
                yield entry.name


def _seen(key: Key, now: Identity, judged: Judged, *, leases: bool) -> SeenFile:
    """The file read. `now` is what it was just before."""
    priority, path = key
    try:
        data, found, is_open = _read(path, leases=leases)
    except (OSError, ValueError) as error:
        fault = _unreadable(
            path, f"the file cannot be read: {_reason(error)}", "make it a readable regular file, or remove it"
        )
        return SeenFile(path, priority, _lasting(now), settled=True, content=RejectedFile(path, priority, (fault,)))
    examined = examine(data, path, judged)
    age = time.time() - found[-2] / 1e9
    content: SpecFile | RejectedFile
    if examined.errors:
        content = RejectedFile(path, priority, examined.errors, examined.spec.kind)
        settled = not -1 <= age < (OPEN_MAX if is_open else SETTLE)
    else:
        content = SpecFile(path, priority, examined.spec, examined.warnings)
        settled = not (is_open and -1 <= age < OPEN_MAX)
    return SeenFile(path, priority, _lasting(found) if found == now else None, settled, content, examined.blocks)


def _lasting(found: Identity) -> Identity | None:
    """The identity, if a further change would show in it."""
    is_near = len(found) > 1 and abs(time.time_ns() - found[-1]) < _TICK * 1e9
    return None if is_near else found


def _named(path: str) -> tuple[Identity, bool]:
    """The identity of what is at a path, and whether that has other names too. One system call for the ordinary file."""
    try:
        status = os.lstat(path)
    except (OSError, ValueError):
        return identity_of(path), False
    if stat.S_ISLNK(status.st_mode):
        return identity_of(path), True
    return identity(status), status.st_nlink > 1


def _read(path: str, *, leases: bool) -> tuple[bytes, Identity, bool]:
    """The content, what it was before it was read, and whether somebody has the file open for writing."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        status = os.fstat(descriptor)
        kind = stat.S_IFMT(status.st_mode)
        if kind != stat.S_IFREG:
            raise OSError(f"it is {_KINDS.get(kind, 'no regular file')}")
        data = bytearray()
        while len(data) <= SIZE_MAX and (part := os.read(descriptor, min(_PART, SIZE_MAX + 1 - len(data)))):
            data += part
        is_open = leases and _is_written(descriptor)
        changed = identity(os.fstat(descriptor)) != identity(status)
        return bytes(data), identity(status), is_open or changed
    finally:
        os.close(descriptor)


def _is_written(descriptor: int) -> bool:
    """Whether the file is open for writing somewhere. The kernel tells by refusing a read lease, to owners and root, on local file systems."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _unreadable(path: str, message: str, hint: str) -> SpecError:
    return SpecError(path, 0, 0, "", Rule.UNREADABLE, None, message, hint)


def _reason(error: Exception) -> str:
    strerror = getattr(error, "strerror", None)
    return strerror.lower() if strerror else str(error)
