"""Which NRI a runtime speaks, and what that means for a plugin. Pure.

Runtimes say their NRI version only from NRI 0.12 on; before that it follows from the runtime's own version. Upstream keeps the
same knowledge in pkg/api/version.go.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple


class Version(NamedTuple):
    """A version that compares: `Version(0, 12, 3)`."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


_NUMBERS = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?")

_OLDEST: Final = Version(0, 6, 0)
"""What an unknown runtime is taken for: the oldest protocol, which every runtime understands."""

_CONTAINERD: Final = (
    # from this containerd on: this NRI; newest first
    (Version(2, 4, 0), Version(0, 12, 3)),
    (Version(2, 3, 0), Version(0, 12, 0)),
    (Version(2, 2, 1), Version(0, 11, 0)),
    (Version(2, 2, 0), Version(0, 10, 0)),
    (Version(2, 0, 0), Version(0, 8, 0)),
    (Version(1, 7, 26), Version(0, 8, 0)),
    (Version(1, 7, 16), Version(0, 6, 1)),
)

_CRIO: Final = (
    (Version(1, 35, 0), Version(0, 11, 0)),
    (Version(1, 34, 0), Version(0, 10, 0)),
    (Version(1, 32, 0), Version(0, 9, 0)),
)

_RUNTIMES: Final = {"containerd": _CONTAINERD, "cri-o": _CRIO}


def parse(text: str) -> Version | None:
    """The version at the start of `text` (`v2.1.9`, `1.7.24~ds1`, `2.2`), or None if there is none."""
    found = _NUMBERS.match(text)
    return Version(int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def nri_version(runtime_name: str, runtime_version: str, announced: str) -> Version:
    """The NRI version of a runtime, from what its Configure request says.

    `announced` decides when it is there; else the runtime's own version does; an unknown runtime is taken for the oldest.
    """
    if (version := parse(announced)) is not None:
        return version
    own = parse(runtime_version)
    if own is None:
        return _OLDEST
    return next((nri for since, nri in _RUNTIMES.get(runtime_name.lower(), ()) if own >= since), _OLDEST)


def forgets_late(runtime_name: str, runtime_version: str) -> bool:
    """Whether the runtime keeps the connection of a plugin whose answer to Synchronize came late, and never asks it again: containerd before 2.0.

    Later ones close it. They also ask later: Synchronize waits there for all requests under way, and one that stops a container is under way for
    the container's whole grace period, so what comes late is not to be taken for an answer that is too late.
    """
    own = parse(runtime_version)
    return runtime_name.lower() == "containerd" and own is not None and own.major < 2  # the version that is meant
