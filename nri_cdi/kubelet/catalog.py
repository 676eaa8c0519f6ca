"""What a snapshot of CDI specs says of the configured kinds. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nri_cdi.kubelet.candidates import Candidate, Found, Specs, candidates, host_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True, eq=False)
class Catalog:
    """What a snapshot says of the configured kinds: the devices that resolve, those in conflict, and the host paths to look at."""

    source: Found
    conflicts: Mapping[str, tuple[str, ...]]
    errors: tuple[str, ...]
    """The files that are not valid."""
    valid: frozenset[str]
    """The files that are."""
    paths: Mapping[str, tuple[str, ...]]
    """The host paths to look at, and the names of the devices whose condition depends on each."""

    @classmethod
    def of(cls, snapshot: Specs, kinds: Iterable[str], before: Catalog | None = None) -> Catalog:
        """The catalog of a snapshot. What is the same in the catalog `before`, of the same kinds, is taken from there."""
        kinds = frozenset(kinds)
        source = candidates(snapshot, kinds, None if before is None else before.source)
        conflicts = {name: paths for name, paths in snapshot.conflicts.items() if name.partition("=")[0] in kinds}
        valid = frozenset(file.path for file in snapshot.specs)
        errors = tuple(sorted(snapshot.errors))
        return cls(source, conflicts, errors, valid, _paths(source.candidates, before))

    @property
    def found(self) -> Mapping[str, Candidate]:
        """The devices that resolve, by qualified name."""
        return self.source.candidates

    def differing(self, other: Catalog) -> frozenset[str]:
        """The names that are something else in the other catalog, or are only in one of the two."""
        return differing(self.found, other.found)

    def names_at(self, paths: Iterable[str]) -> frozenset[str]:
        """The names of the devices whose condition depends on one of these host paths."""
        return frozenset(name for path in paths for name in self.paths.get(path, ()))

    @staticmethod
    def paths_of(one: Candidate) -> tuple[str, ...]:
        """The host paths that the condition of one device depends on."""
        return tuple(dict.fromkeys(host_path(node) for node in (*one.common, *one.nodes)))


def differing(one: Mapping[str, object], other: Mapping[str, object]) -> frozenset[str]:
    """The keys under which not the same object is in both."""
    new = {name for name, value in one.items() if other.get(name) is not value}
    return frozenset(new | (other.keys() - one.keys()))


def _paths(found: Mapping[str, Candidate], before: Catalog | None) -> Mapping[str, tuple[str, ...]]:
    """`Catalog.paths`; those of `before` itself if there are no others."""
    known = before.found if before is not None else {}
    changed = differing(found, known)
    if before is not None and not changed:
        return before.paths
    gone: dict[str, set[str]] = {}
    new: dict[str, list[str]] = {}
    for name in changed & known.keys():
        for path in Catalog.paths_of(known[name]):
            gone.setdefault(path, set()).add(name)
    for name in changed & found.keys():
        for path in Catalog.paths_of(found[name]):
            new.setdefault(path, []).append(name)
    paths = dict(before.paths) if before is not None else {}
    for path in gone.keys() | new.keys():
        left = [name for name in paths.get(path, ()) if name not in gone.get(path, ())]
        if names := (*left, *new.get(path, ())):
            paths[path] = names
        else:
            del paths[path]
    return paths
