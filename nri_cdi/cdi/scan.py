"""Spec directories read: the only place of this package that reads files, and a program of its own.

`python -m nri_cdi.cdi.scan DIRECTORY...` writes the scan to its standard output in the encoding of `plain`. The serving process starts that
as a short-lived child, because parsing YAML would hold its interpreter lock for hundreds of milliseconds.
"""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING

from nri_cdi.cdi import plain
from nri_cdi.cdi.document import SIZE_MAX
from nri_cdi.cdi.errors import Rule, SpecError
from nri_cdi.cdi.files import DEFAULT_DIRECTORIES, DirectoryState, RejectedFile, Scan, SpecDirectory, SpecFile
from nri_cdi.cdi.load import examine
from nri_cdi.cdi.paths import clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
    found: list[SpecDirectory] = []
    files: list[SpecFile | RejectedFile] = []
    for priority, name in enumerate(directories or DEFAULT_DIRECTORIES):
        path = clean(name)
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
            files.extend(_file(os.path.join(path, entry), priority) for entry in names)  # noqa: PTH118 - startup time
    return Scan(tuple(found), tuple(files))


def _spec_names(path: str) -> Iterator[str]:
    with os.scandir(path) as entries:
        for entry in entries:
            # Behind the last dot of the name, so that a file called just `.yaml` is one too.
            if entry.name.endswith((".json", ".yaml")) and not entry.is_dir(follow_symlinks=False):
                yield entry.name


def _file(path: str, priority: int) -> SpecFile | RejectedFile:
    try:
        data = read_file(path)
    except (OSError, ValueError) as error:
        fault = _unreadable(
            path, f"the file cannot be read: {_reason(error)}", "make it a readable regular file, or remove it"
        )
        return RejectedFile(path, priority, (fault,))
    examined = examine(data, path)
    if examined.errors:
        return RejectedFile(path, priority, examined.errors, examined.spec.kind)
    return SpecFile(path, priority, examined.spec, examined.warnings)


def read_file(path: str) -> bytes:
    """The content of a regular file, symbolic links followed; at most one byte more than a spec file may have.

    Raises OSError for everything else; a FIFO or device is never waited for.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
        if kind != stat.S_IFREG:
            raise OSError(f"it is {_KINDS.get(kind, 'no regular file')}")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(SIZE_MAX + 1)
    finally:
        os.close(descriptor)


def _unreadable(path: str, message: str, hint: str) -> SpecError:
    return SpecError(path, 0, 0, "", Rule.UNREADABLE, None, message, hint)


def _reason(error: Exception) -> str:
    strerror = getattr(error, "strerror", None)
    return strerror.lower() if strerror else str(error)


if __name__ == "__main__":
    import gc

    gc.disable()  # the process lives for one scan: collecting garbage costs more than keeping it
    sys.stdout.buffer.write(plain.encode(scan_directories(sys.argv[1:])))
    sys.stdout.buffer.flush()
