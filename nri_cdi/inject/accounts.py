"""Which allocations were injected, by their ids: to report, never to refuse.

The id in an allocation's key joins what the kubelet allocated, what we injected and what runs. An entry lives as long as its container: it is
made at creation, corrected at start, removed with the container. Synchronize says the same of the containers that there are already, so after a restart,
of ours or the runtime's, the entries are those of before. The memory is bounded, the oldest entries go first.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from nri_cdi.account import Injection
from nri_cdi.allocation import allocation_id, mark_key, own_key_name

from .marks import broken

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from .refusals import Subject
    from .request import Shown

LIMIT: Final = 4096
"""Allocations that are remembered: several times what a node can run at once."""

_DEVICES_MAX: Final = 240
_NAME_MAX: Final = 253
"""Characters that are kept of the devices' names, and of each other name (Kubernetes has none longer)."""


class Accounts:
    """See the module. Written by the thread that serves the runtime; readers get copies."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._entries: OrderedDict[str, Injection] = OrderedDict()
        self.forgotten = 0
        """How many entries were given up for others."""

    def injected(self, subject: Subject, container_id: str, devices: Mapping[str, str]) -> None:
        """These allocations (by key name, each with its device names) were injected into a container that is being created."""
        for name, value in devices.items():
            self._note(name, _injection(subject, container_id, value))

    def found(self, container: Shown, container_id: str, prefix: str, *, ended: bool = False) -> str | None:
        """A container that there is; a sentence if an allocation of it was not, or is not wholly, injected.

        One that has `ended` counts only where no other container has the allocation, and its faults not at all: it does not run without its devices.
        """
        faults = []
        for key in container.annotations:
            name = own_key_name(key, prefix)
            if name is None:
                continue
            value, fault = container.annotations[key], _fault(container, name)
            if ended and (fault or allocation_id(name) in self._entries):
                continue
            self._note(name, _injection(container.subject, container_id, value, fault))
            if fault:
                faults.append(f"{value[:_DEVICES_MAX]} ({name}): {fault}")
        return f"{container.subject}: {'; '.join(faults)}" if faults else None

    def removed(self, container_id: str, names: Iterable[str]) -> None:
        """The container with these key names is gone. One that was created after it, with the same allocations, stays."""
        for allocation in map(allocation_id, names):
            entry = self._entries.get(allocation)
            if entry is not None and entry.container_id == container_id:
                del self._entries[allocation]

    def keep(self, container_ids: Container[str]) -> None:
        """There are no other containers than these."""
        for allocation, entry in self.entries().items():
            if entry.container_id not in container_ids:
                del self._entries[allocation]

    def entries(self) -> dict[str, Injection]:
        """What is known, by allocation id, oldest first."""
        return dict(self._entries)

    def _note(self, name: str, entry: Injection) -> None:
        allocation = allocation_id(name)
        self._entries[allocation] = entry
        self._entries.move_to_end(allocation)
        while len(self._entries) > self._limit:
            self._entries.popitem(last=False)
            self.forgotten += 1


def _fault(container: Shown, name: str) -> str:
    mark = container.annotations.get(mark_key(name))
    if mark is None:
        return "it was created while no NRI half of nri-cdi was connected"
    if count := broken(mark, container):
        return f"it lacks {count} of the things that were promised at its creation"
    return ""


def _injection(subject: Subject, container_id: str, devices: str, fault: str = "") -> Injection:
    namespace, pod, container, identity = (
        name[:_NAME_MAX] for name in (subject.namespace, subject.pod, subject.container, container_id)
    )
    return Injection(namespace, pod, container, identity, devices[:_DEVICES_MAX], fault)
