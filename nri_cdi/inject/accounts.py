"""Which allocations were injected, by their ids: to report, never to refuse.

The id in an allocation's key joins what the kubelet allocated, what we injected and what runs. The memory is bounded, the oldest entries go
first, and after a restart it is filled again from what the runtime says in Synchronize.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from nri_cdi.allocation import allocation_id, mark_key, own_key_name

from .marks import broken

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .refusals import Subject
    from .request import Shown

LIMIT: Final = 4096
"""Allocations that are remembered: several times what a node can run at once."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An allocation as it was seen last; `fault` is empty when its container has all that was promised."""

    subject: Subject
    fault: str = ""


class Accounts:
    """See the module. Written by the thread that serves the runtime; readers get copies."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._entries: OrderedDict[str, Entry] = OrderedDict()

    def injected(self, subject: Subject, key_names: Iterable[str]) -> None:
        """These allocations were injected into a container that is being created."""
        for name in key_names:
            self._note(allocation_id(name), Entry(subject))

    def found(self, container: Shown, prefix: str) -> str | None:
        """A container that the runtime has already; a sentence if an allocation of it was not, or is not wholly, injected."""
        faults = []
        for key in container.annotations:
            name = own_key_name(key, prefix)
            if name is None:
                continue
            mark = container.annotations.get(mark_key(name))
            fault = (
                "was created without us" if mark is None else "lacks promised things" if broken(mark, container) else ""
            )
            self._note(allocation_id(name), Entry(container.subject, fault))
            if fault:
                faults.append(f"{container.annotations[key]} ({name}) {fault}")
        return f"{container.subject}: {'; '.join(faults)}" if faults else None

    def entries(self) -> dict[str, Entry]:
        """What is known, by allocation id, oldest first."""
        return dict(self._entries)

    def _note(self, allocation: str, entry: Entry) -> None:
        self._entries[allocation] = entry
        self._entries.move_to_end(allocation)
        while len(self._entries) > self._limit:
            self._entries.popitem(last=False)
