"""Devices of a spec file by the block, so that who reads the file again reads only what is new in it (see `written`).

A file may have ten thousand devices, of which mostly one changes at a time. A block is some devices as they are written, one behind the other. Where the text of
one that was found right stands again in a file of the same version and kind, its devices are right again: no rule looks at more than one device, but that
names differ (so a block has them) and that some features of the last device count for the version (so the last one is always read).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple


class Block(NamedTuple):
    """Devices as they are written: a checksum of how their text begins, its bytes and digest, and their names, with blanks between."""

    head: int
    size: int
    digest: bytes
    names: str

    @property
    def devices(self) -> int:
        """How many."""
        return self.names.count(" ") + 1


@dataclass(frozen=True, slots=True)
class Judged:
    """What was read of a spec file that is right and has no warnings: its version and kind, and its devices, all of them, if it has many."""

    version: str
    kind: str
    blocks: tuple[Block, ...]


UNKNOWN: Final = Judged("", "", ())
"""A file that has not been read before."""
