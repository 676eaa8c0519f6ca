"""Which names are one host device, and which of them is advertised. Pure.

The rule: a host device is handed out under one name only, whatever resources its names belong to. Two names are in each other's way
when both bring the same device node of the host (by path or by device numbers) or the same network interface. Not counted are the nodes that a
spec file brings to all its devices, memory devices (/dev/null, /dev/zero...), and the nodes that the configuration calls shared.

Names are taken in this order, each unless a name taken before is in its way: those that `prefer` names, in the order of its patterns; those
advertised before (a container may hold them); those with fewer nodes (so the single devices win, and `all` is left out); those of the resource
configured first; in natural order.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from nri_cdi.kubelet.candidates import host_path
from nri_cdi.kubelet.order import natural

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from nri_cdi.cdi import DeviceNode, HostNode
    from nri_cdi.kubelet.candidates import Candidate

Key: TypeAlias = str | tuple[str, int, int]
"""What a node is recognised by: its path, its type and numbers; for a network interface `net:` and its name."""

_MEMORY_MAJOR: Final = 1
"""The major number of Linux's memory devices: null, zero, full, random. They stand for no hardware."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the configuration says of names. `include`, `exclude` and `prefer` are shell patterns over qualified names; `shared` over host paths."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    prefer: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Omission:
    """Why a name is not advertised. `across` if a device of another resource of ours is in its way."""

    reason: str
    across: bool = False


@dataclass(frozen=True, slots=True)
class Selection:
    """The names that are advertised, and why the others are not."""

    names: frozenset[str]
    left_out: Mapping[str, Omission] = field(default_factory=dict)


def wanted(name: str, rules: Rules) -> bool:
    """Whether the configuration lets a qualified name be advertised at all."""
    return (not rules.include or _matches(name, rules.include)) and not _matches(name, rules.exclude)


def select(
    found: Iterable[Candidate],
    numbers: Mapping[str, HostNode],
    rules: Rules,
    kinds: Sequence[str],
    before: Collection[str] = (),
) -> Selection:
    """Which of the candidates `found` are advertised. `numbers` are the host's nodes, by path, as last seen; `before` the names advertised before."""
    shared = _compiled(rules.shared)
    left_out: dict[str, Omission] = {}
    ordered = []
    place = {kind: index for index, kind in enumerate(kinds)}
    for one in found:
        if not wanted(one.name, rules):
            left_out[one.name] = Omission("the configuration excludes it")
        elif one.transient and not rules.include:
            left_out[one.name] = Omission(f"{one.file} is a transient spec, made for one claim")
        else:
            keys = _keys(one, numbers, shared)
            rank = (_preference(one.name, rules.prefer), one.name not in before, len(keys))
            ordered.append((rank, place[one.kind], natural(one.id), one, keys))
    ordered.sort(key=lambda item: item[:3])
    names: set[str] = set()
    owners: dict[Key, Candidate] = {}
    for _, _, _, one, keys in ordered:
        in_the_way = {owner.name: owner for node in keys for key in node if (owner := owners.get(key))}
        if in_the_way:
            left_out[one.name] = _omission(one, keys, in_the_way, owners)
        else:
            names.add(one.name)
            owners.update((key, one) for node in keys for key in node)
    return Selection(frozenset(names), left_out)


def _omission(
    one: Candidate,
    keys: Collection[frozenset[Key]],
    in_the_way: Mapping[str, Candidate],
    owners: Mapping[Key, Candidate],
) -> Omission:
    across = any(other.kind != one.kind for other in in_the_way.values())
    some = ", ".join(sorted(in_the_way, key=natural)[:3]) + (" and others" if len(in_the_way) > 3 else "")
    taken = [node for node in keys if any(key in owners for key in node)]
    if len(in_the_way) > 1:
        return Omission(f"its host devices are advertised as {some}", across)
    paths = ", ".join(sorted(key for node in taken for key in node if isinstance(key, str) and key in owners))
    what = "it is the same host device as" if len(taken) == len(keys) else "it shares a host device with"
    return Omission(f"{what} {some}" + (f" ({paths})" if paths else ""), across)


def _keys(one: Candidate, numbers: Mapping[str, HostNode], shared: re.Pattern[str] | None) -> frozenset[frozenset[Key]]:
    """For each host device that the candidate brings, what it is recognised by."""
    nodes = {keys for node in one.nodes if (keys := _node_keys(node, numbers, shared))}
    return frozenset(nodes | {frozenset((f"net:{name}",)) for name in one.interfaces})


def _node_keys(
    node: DeviceNode, numbers: Mapping[str, HostNode], shared: re.Pattern[str] | None
) -> frozenset[Key] | None:
    path = host_path(node)
    if shared is not None and shared.fullmatch(path):
        return None
    host = numbers.get(path)
    kind, major, minor = (node.type, node.major, node.minor) if node.type and node.major else ("", 0, 0)
    if not kind and host is not None:
        kind, major, minor = host.type, host.major, host.minor
    kind = "c" if kind == "u" else kind
    if kind == "c" and major == _MEMORY_MAJOR:
        return None
    return frozenset((path, (kind, major, minor))) if kind in {"b", "c"} and major else frozenset((path,))


def _preference(name: str, patterns: Sequence[str]) -> int:
    return next((i for i, pattern in enumerate(patterns) if fnmatch.fnmatchcase(name, pattern)), len(patterns))


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _compiled(patterns: Sequence[str]) -> re.Pattern[str] | None:
    """One expression for all patterns: there may be ten thousand nodes to try them on."""
    return re.compile("|".join(map(fnmatch.translate, patterns))) if patterns else None
