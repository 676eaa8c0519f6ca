"""What a scan of the spec directories found: plain frozen values, made by `scan`, carried by `plain`, indexed by `snapshot`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from nri_cdi.cdi.errors import SpecError
    from nri_cdi.cdi.model import Spec

DEFAULT_DIRECTORIES: Final = ("/etc/cdi", "/var/run/cdi")
"""The specification's directories; the later has priority."""


class DirectoryState(StrEnum):
    """How a spec directory was found. A missing one is no error: nothing is installed there."""

    PRESENT = "present"
    MISSING = "missing"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class SpecDirectory:
    """A spec directory; `priority` is its place in the list, higher wins. `error` is there exactly in the state ERROR."""

    path: str
    priority: int
    state: DirectoryState
    error: SpecError | None = None


@dataclass(frozen=True, slots=True)
class SpecFile:
    """A valid spec file. `warnings` are rules it breaks that no CDI implementation enforces."""

    path: str
    priority: int
    spec: Spec
    warnings: tuple[SpecError, ...] = ()


@dataclass(frozen=True, slots=True)
class RejectedFile:
    """A spec file that contributes nothing, with the reasons; `kind` as far as it could be read, else empty."""

    path: str
    priority: int
    errors: tuple[SpecError, ...]
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Scan:
    """One look at the spec directories. `files` in scan order: directories by priority, file names sorted bytewise."""

    directories: tuple[SpecDirectory, ...]
    files: tuple[SpecFile | RejectedFile, ...]
