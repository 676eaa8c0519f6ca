"""The devices of a node at one moment: an immutable index over the valid spec files, and what is wrong with the others.

`Snapshot.build` is pure: the same scan gives the same snapshot. A new scan makes a new snapshot; nobody changes one in place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from nri_cdi.cdi import nearest
from nri_cdi.cdi.edits import combine
from nri_cdi.cdi.errors import InvalidName, Rule, SpecError, Unresolved, UnresolvedDevices, Why, listed
from nri_cdi.cdi.files import DirectoryState, RejectedFile, Scan, SpecDirectory, SpecFile
from nri_cdi.cdi.names import QualifiedName, parse_qualified_name
from nri_cdi.cdi.packed import numbers_of, same_devices

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nri_cdi.cdi.model import ContainerEdits, Device


@dataclass(frozen=True, slots=True)
class DeviceEntry:
    """A device that resolves, the file it comes from, and its number there."""

    name: str
    file: SpecFile
    number: int

    @property
    def device(self) -> Device:
        """The device as the file has it."""
        return self.file.spec.devices[self.number]

    @property
    def path(self) -> str:
        """The file's path."""
        return self.file.path

    @property
    def priority(self) -> int:
        """The place of the file's directory in the list; higher wins."""
        return self.file.priority


@dataclass(frozen=True, slots=True, eq=False)
class _Kind:
    """The files of one kind, and whose each device is: made anew only when one of these files is another.

    `numbers`: file by file, the place of each device by its qualified name. `owners`: of the devices that resolve the number of the file that counts; None
    if there is only one file.
    """

    files: tuple[SpecFile, ...]
    numbers: tuple[Mapping[str, int], ...]
    owners: Mapping[str, int] | None
    conflicts: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, files: tuple[SpecFile, ...]) -> _Kind:
        """The rules of `Snapshot.build`, for the files of one kind in scan order."""
        numbers = tuple([numbers_of(file.spec) for file in files])
        if len(files) == 1:
            return cls(files, numbers, None, {})
        owners: dict[str, int] = {}
        conflicts: dict[str, dict[str, None]] = {}
        # Whole files go in at once, which is what makes ten thousand devices of a kind a matter of milliseconds.
        for at, (file, names) in enumerate(zip(files, numbers, strict=True)):
            entries = dict.fromkeys(names, at)
            if not owners.keys().isdisjoint(entries):
                for name in owners.keys() & entries.keys():
                    other = files[owners[name]]
                    if other.priority == file.priority:
                        conflicts.setdefault(name, {}).update({other.path: None, file.path: None})
                        del entries[name]
            owners.update(entries)
        for name in conflicts:
            del owners[name]
        return cls(files, numbers, owners, {name: tuple(paths) for name, paths in conflicts.items()})

    @property
    def names(self) -> Mapping[str, int]:
        """The names that resolve; what they are mapped to is not the same for all kinds."""
        return self.numbers[0] if self.owners is None else self.owners

    def entry(self, name: str) -> DeviceEntry:
        """The device of this qualified name. Raises KeyError."""
        at = 0 if self.owners is None else self.owners[name]
        return DeviceEntry(name, self.files[at], self.numbers[at][name])

    def differing(self, other: _Kind) -> set[str]:
        """The rules of `Snapshot.differing`, for one kind."""
        same: set[str] = set()
        places: dict[str, list[int]] = {}
        for there, file in enumerate(other.files):
            places.setdefault(file.path, []).append(there)
        for at, file in enumerate(self.files):
            for there in places.get(file.path, ()):
                theirs = other.files[there]
                if file.spec.edits == theirs.spec.edits:
                    alike = same_devices(file.spec, theirs.spec)
                    same.update(name for name in alike if self._has(name, at) and other._has(name, there))
        return (self.names.keys() | other.names.keys()) - same

    def _has(self, name: str, at: int) -> bool:
        """Whether the device with this name, which is in that file, resolves to it."""
        return self.owners is None or self.owners.get(name) == at


class Devices(Mapping[str, DeviceEntry]):
    """The devices that resolve, by qualified name, in the order of the names.

    Of many snapshots only a few names are ever asked for, so the order is found out when it is needed.
    """

    __slots__ = ("_kinds", "_sorted")

    def __init__(self, kinds: Mapping[str, _Kind]) -> None:
        self._kinds = kinds
        self._sorted: list[str] | None = None

    def __getitem__(self, name: str) -> DeviceEntry:
        return self._kinds[name.partition("=")[0]].entry(name)

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        kind = self._kinds.get(name.partition("=")[0])
        return kind is not None and name in kind.names

    def __iter__(self) -> Iterator[str]:
        if self._sorted is None:
            self._sorted = sorted(chain.from_iterable(kind.names for kind in self._kinds.values()))
        return iter(self._sorted)

    def __len__(self) -> int:
        return sum(len(kind.names) for kind in self._kinds.values())


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """What a scan says about devices. Made by `build`; every lookup is O(1); mappings are sorted by key and read-only.

    `specs` are the valid files in scan order, `rejected` the others; `errors` has the faults of rejected files and of directories by
    path. `devices` holds what resolves; `conflicts` names what does not, because several files of one directory define it.
    """

    dirs: tuple[SpecDirectory, ...]
    specs: tuple[SpecFile, ...]
    rejected: tuple[RejectedFile, ...]
    errors: Mapping[str, tuple[SpecError, ...]]
    conflicts: Mapping[str, tuple[str, ...]]
    devices: Mapping[str, DeviceEntry]
    vendors: tuple[str, ...]
    classes: tuple[str, ...]
    _kinds: Mapping[str, _Kind] = field(repr=False)

    @classmethod
    def build(cls, scan: Scan, before: Snapshot | None = None) -> Snapshot:
        """The index of a scan.

        Of files that define the same name the one of the later directory wins. In one directory nobody wins: the name resolves to
        nothing, whatever other directories say, and the other devices of these files stay.

        `before` is an earlier snapshot of the same directories: kinds that have the same files as there are not indexed again. The result is the same.
        """
        specs = tuple([file for file in scan.files if isinstance(file, SpecFile)])
        rejected = tuple([file for file in scan.files if isinstance(file, RejectedFile)])
        errors: dict[str, tuple[SpecError, ...]] = {file.path: file.errors for file in rejected}
        for directory in scan.directories:
            if directory.error is not None:
                errors[directory.path] = (directory.error,)
        kinds = _kinds(specs, before)
        conflicts = {name: paths for kind in kinds.values() for name, paths in kind.conflicts.items()}
        if before is not None and before._kinds.keys() == kinds.keys():  # noqa: SLF001 - of this class
            vendors, classes = before.vendors, before.classes
        else:
            firsts = [kind.files[0].spec for kind in kinds.values()]
            vendors = tuple(sorted({spec.vendor for spec in firsts}))
            classes = tuple(sorted({spec.cls for spec in firsts}))
        return cls(
            dirs=scan.directories,
            specs=specs,
            rejected=rejected,
            errors=MappingProxyType(dict(sorted(errors.items()))),
            conflicts=MappingProxyType(dict(sorted(conflicts.items()))),
            devices=Devices(kinds),
            vendors=vendors,
            classes=classes,
            _kinds=MappingProxyType(kinds),
        )

    def all_errors(self) -> Mapping[str, tuple[SpecError, ...]]:
        """`errors`, and each conflict under every path that takes part in it; by path, sorted."""
        errors = {path: list(faults) for path, faults in self.errors.items()}
        for name, paths in self.conflicts.items():
            for path in paths:
                folder = path.rpartition("/")[0]
                others = listed([other for other in paths if other != path and other.rpartition("/")[0] == folder])
                message = f"the device {name} conflicts with its definition in {others}, so it does not resolve"
                fault = SpecError(
                    path, 0, 0, "", Rule.CONFLICT, name, message, "remove it from all but one of these files"
                )
                errors.setdefault(path, []).append(fault)
        return {path: tuple(errors[path]) for path in sorted(errors)}

    def device(self, name: str) -> DeviceEntry | None:
        """The device of this qualified name, looked up as it stands; None if it does not resolve."""
        return self.devices.get(name)

    def differing(self, other: Snapshot, kinds: Iterable[str]) -> frozenset[str]:
        """The names of these kinds that resolve to something else in the other snapshot, or only in one of the two.

        The same is a device with the same edits, from one path and beside the same edits of the whole file.
        """
        nothing = _Kind.of(())
        changed: set[str] = set()
        for kind in kinds:
            mine, theirs = self._kinds.get(kind, nothing), other._kinds.get(kind, nothing)
            if mine is not theirs:
                changed |= mine.differing(theirs)
        return frozenset(changed)

    def resolve(self, names: Sequence[str]) -> ContainerEdits:
        """The combined edits of these devices, in request order; repeats are kept.

        Each file's own edits come once, before the edits of its first device. All names are looked up before anything is
        combined. Raises UnresolvedDevices for all the names that do not resolve.
        """
        entries = [self.devices.get(name) for name in names]
        if None in entries:
            missing = tuple(name for name, entry in zip(names, entries, strict=True) if entry is None)
            raise UnresolvedDevices(missing, tuple(map(self._explain, dict.fromkeys(missing))), self._searched())
        parts: list[ContainerEdits] = []
        contributed: set[int] = set()
        for entry in entries:
            if entry is None:
                continue
            if id(entry.file) not in contributed:
                contributed.add(id(entry.file))
                parts.append(entry.file.spec.edits)
            parts.append(entry.device.edits)
        return combine(parts)

    def _searched(self) -> tuple[str, ...]:
        return tuple(
            directory.path if directory.state is DirectoryState.PRESENT else f"{directory.path} ({directory.state})"
            for directory in self.dirs
        )

    def _explain(self, name: str) -> Unresolved:
        try:
            parts = parse_qualified_name(name)
        except InvalidName as error:
            return Unresolved(name, Why.INVALID_NAME, error.reason)
        if paths := self.conflicts.get(name):
            reason = f"several files of one directory define it, so none of them counts: {listed(paths)}; remove it from all but one"
            return Unresolved(name, Why.CONFLICT, reason, paths)
        if suspects := tuple(file for file in self.rejected if file.kind == parts.kind):
            paths = tuple(file.path for file in suspects)
            reason = f"the spec file of its kind was rejected: {listed(paths)}; correct the file"
            return Unresolved(name, Why.REJECTED_FILE, reason, paths, (), tuple(file.errors[0] for file in suspects))
        # A file so broken that its kind is unknown may have defined anything.
        rejected = tuple(file.errors[0] for file in self.rejected if not file.kind)
        return self._absent(name, parts, rejected)

    def _absent(self, name: str, parts: QualifiedName, rejected: tuple[SpecError, ...]) -> Unresolved:
        if kind := self._kinds.get(parts.kind):
            known = [name for numbers in kind.numbers for name in numbers if name in kind.names]
            paths = tuple(file.path for file in kind.files)
            reason = f'no device "{parts.name}" of kind {parts.kind} in {listed(paths)}'
            return Unresolved(name, Why.NO_DEVICE, reason, paths, nearest.to(name, known), rejected)
        if parts.vendor in self.vendors:
            known = list(self._kinds)
            paths = tuple(file.path for file in self.specs if file.spec.vendor == parts.vendor)
            reason = f'no spec file for the kind {parts.kind}; vendor "{parts.vendor}" has {listed(paths)}'
            return Unresolved(name, Why.NO_KIND, reason, paths, nearest.to(parts.kind, known), rejected)
        return Unresolved(
            name,
            Why.NO_VENDOR,
            f'no spec file of vendor "{parts.vendor}"',
            (),
            nearest.to(parts.kind, list(self._kinds)),
            rejected,
        )


def _kinds(specs: Sequence[SpecFile], before: Snapshot | None) -> dict[str, _Kind]:
    """The files by kind, as in `before` but for the kinds that files came to or went from."""
    if before is None:
        kinds: dict[str, _Kind] = {}
        touched = {file.spec.kind for file in specs}
    else:
        kinds = dict(before._kinds)  # noqa: SLF001 - of this module
        now, then = ({id(file): file for file in files} for files in (specs, before.specs))
        touched = {(now.get(at) or then[at]).spec.kind for at in now.keys() ^ then.keys()}
    groups: dict[str, list[SpecFile]] = {kind: [] for kind in touched}
    for file in specs:
        if file.spec.kind in groups:
            groups[file.spec.kind].append(file)
    for kind, files in groups.items():
        if files:
            kinds[kind] = _Kind.of(tuple(files))
        else:
            del kinds[kind]
    return kinds


EMPTY: Final = Snapshot.build(Scan((), ()))
"""The snapshot of a node where nothing was looked for yet: it resolves nothing."""
