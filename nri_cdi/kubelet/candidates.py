"""The devices of a snapshot that could be advertised: what their names, health and identity are decided from. Pure.

There may be ten thousand of them, and mostly few are new in a snapshot: the candidates of one before are used again, so that who compares can do it by
identity.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nri_cdi.cdi import ContainerEdits, DeviceNode


class Specs(Protocol):
    """What an inventory needs of `nri_cdi.cdi.Snapshot`."""

    @property
    def devices(self) -> Mapping[str, Entry]:
        """The devices that resolve, by qualified name."""

    @property
    def conflicts(self) -> Mapping[str, tuple[str, ...]]:
        """The paths that define one qualified name in conflict, by that name."""

    @property
    def errors(self) -> Mapping[str, object]:
        """What is wrong with the spec files that are not valid, by path."""

    @property
    def specs(self) -> Iterable[SpecFile]:
        """The valid spec files."""

    def differing(self, other: Self, kinds: Iterable[str]) -> Iterable[str]:
        """The names of these kinds that are not the same device in both, from one path and beside the same edits of the whole file."""


class Entry(Protocol):
    """What is needed of `nri_cdi.cdi.DeviceEntry`."""

    @property
    def file(self) -> SpecFile:
        """The file that defines the device."""

    @property
    def device(self) -> WithEdits:
        """The device as the file has it."""


class SpecFile(Protocol):
    """What is needed of `nri_cdi.cdi.SpecFile`."""

    @property
    def path(self) -> str:
        """Where it is."""

    @property
    def spec(self) -> WithEdits:
        """What is in it."""


class WithEdits(Protocol):
    """A device, or a spec with the edits that all its devices share."""

    @property
    def edits(self) -> ContainerEdits:
        """The edits."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A device that resolves.

    `nodes` are its own device nodes, `common` those of its spec file: every device of the file brings them, so they
    tell no two devices apart. `interfaces` are the host's network interfaces that it moves into the container.
    """

    name: str
    kind: str
    id: str
    file: str
    nodes: tuple[DeviceNode, ...] = ()
    common: tuple[DeviceNode, ...] = ()
    interfaces: tuple[str, ...] = ()

    @property
    def transient(self) -> bool:
        """Whether its spec file has the name of a transient one: `<vendor>-<class>_<id>`, as in the CDI library.

        Such a file is made for one claim of one pod and removed after it: its devices are given to somebody already. The name is all
        that says so; its directory does not, for whoever writes chooses that.
        """
        return posixpath.basename(self.file).startswith(self.kind.replace("/", "-", 1) + "_")


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The candidates of some kinds by qualified name, and the snapshot that they are of."""

    snapshot: Specs
    candidates: Mapping[str, Candidate]


def candidates(snapshot: Specs, kinds: Iterable[str], before: Found | None = None) -> Found:
    """The candidates of these kinds in a snapshot. One of `before` stays the very object that it is, if its definition does."""
    kinds = frozenset(kinds)
    if before is None:
        new = [name for name in snapshot.devices if name.partition("=")[0] in kinds]
        return Found(snapshot, {name: _candidate(name, snapshot.devices[name]) for name in new})
    found = dict(before.candidates)
    for name in snapshot.differing(before.snapshot, kinds):
        entry = snapshot.devices.get(name)
        if entry is None:
            del found[name]
        else:
            found[name] = _candidate(name, entry)
    return Found(snapshot, found)


def _candidate(name: str, entry: Entry) -> Candidate:
    kind, _, device = name.partition("=")
    edits = entry.device.edits
    return Candidate(
        name,
        kind,
        device,
        entry.file.path,
        edits.device_nodes,
        entry.file.spec.edits.device_nodes,
        tuple(net.host_interface_name for net in edits.net_devices),
    )


def host_path(node: DeviceNode) -> str:
    """The path of a device node on the host."""
    return node.host_path or node.path
