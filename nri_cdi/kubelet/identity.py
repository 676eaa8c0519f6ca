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

Keys: TypeAlias = frozenset[frozenset[Key]]
"""For each host device of a candidate what it is recognised by."""

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


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """The names that are advertised, and why the others are not; and what that was decided from."""

    names: frozenset[str] = frozenset()
    left_out: Mapping[str, Omission] = field(default_factory=dict)
    found: Mapping[str, Candidate] = field(default_factory=dict)
    keys: Mapping[str, Keys] = field(default_factory=dict)
    """Of the candidates that the rules let through."""


NOTHING: Final = Selection()
"""Before anything was selected."""


def wanted(name: str, rules: Rules) -> bool:
    """Whether the configuration lets a qualified name be advertised at all."""
    return (not rules.include or _matches(name, rules.include)) and not _matches(name, rules.exclude)


def select(
    found: Mapping[str, Candidate],
    numbers: Mapping[str, HostNode],
    rules: Rules,
    kinds: Sequence[str],
    before: frozenset[str] = frozenset(),
    last: Selection = NOTHING,
    renumbered: Collection[str] = (),
) -> Selection:
    """Which of the candidates `found` are advertised. `numbers` are the host's nodes, by path, as last seen; `before` the names advertised before.

    `last` is what this said before under the same rules and kinds, and `renumbered` are the names of which a node has other numbers since. The result is the
    same without it. But a candidate is in the way of few others: only those that share a host device with one that is new, directly or through others, are
    decided anew. It is `last` itself if none is.
    """
    again = {name for name, one in found.items() if last.found.get(name) is not one}
    again |= last.found.keys() - found.keys()
    again |= last.names ^ before  # those that were selected would be so again if they had been advertised before
    again.update(renumbered)
    if not again:
        return last
    left_out: dict[str, Omission] = {}
    keys: dict[str, Keys] = {name: known for name, known in last.keys.items() if name not in again}
    shared = _compiled(rules.shared)
    touched: set[Key] = set()
    for name in again & found.keys():
        one = found[name]
        if not wanted(name, rules):
            left_out[name] = Omission("the configuration excludes it")
        elif one.transient and not rules.include:
            left_out[name] = Omission(f"{one.file} is a transient spec, made for one claim")
        else:
            keys[name] = _keys(one, numbers, shared)
            touched.update(*keys[name])
    for name in again & last.keys.keys():
        touched.update(*last.keys[name])
    others = {name: known for name, known in keys.items() if name not in again}
    while touched and others:
        more = [name for name, known in others.items() if any(not touched.isdisjoint(node) for node in known)]
        touched = {key for name in more for node in others.pop(name) for key in node}
        again.update(more)
    names, omitted = _decided(again & keys.keys(), found, keys, rules, kinds, before)
    return Selection(
        last.names - again | names,
        {name: why for name, why in last.left_out.items() if name not in again} | left_out | omitted,
        found,
        keys,
    )


def _decided(
    names: Collection[str],
    found: Mapping[str, Candidate],
    keys: Mapping[str, Keys],
    rules: Rules,
    kinds: Sequence[str],
    before: Collection[str],
) -> tuple[set[str], dict[str, Omission]]:
    """Which of these names are advertised, in the order of the rule, and why the others are not; no other name has one of their host devices."""
    place = {kind: index for index, kind in enumerate(kinds)}
    ordered = []
    for name in names:
        one = found[name]
        rank = (_preference(name, rules.prefer), name not in before, len(keys[name]))
        ordered.append((rank, place[one.kind], natural(one.id), one))
    ordered.sort(key=lambda item: item[:3])
    taken: set[str] = set()
    owners: dict[Key, Candidate] = {}
    for _, _, _, one in ordered:
        mine = [key for node in keys[one.name] for key in node]
        if owners.keys().isdisjoint(mine):
            taken.add(one.name)
            owners.update(dict.fromkeys(mine, one))
    return taken, {one.name: _omission(one, keys[one.name], owners) for *_, one in ordered if one.name not in taken}


def _omission(
    one: Candidate,
    keys: Keys,
    owners: Mapping[Key, Candidate],
) -> Omission:
    """Why a name is left out; `owners` has whose each host device is."""
    in_the_way = {owner.name: owner for node in keys for key in node if (owner := owners.get(key))}
    across = any(other.kind != one.kind for other in in_the_way.values())
    some = ", ".join(sorted(in_the_way, key=natural)[:3]) + (" and others" if len(in_the_way) > 3 else "")
    taken = [node for node in keys if any(key in owners for key in node)]
    if len(in_the_way) > 1:
        return Omission(f"its host devices are advertised as {some}", across)
    paths = ", ".join(sorted(key for node in taken for key in node if isinstance(key, str) and key in owners))
    what = "it is the same host device as" if len(taken) == len(keys) else "it shares a host device with"
    return Omission(f"{what} {some}" + (f" ({paths})" if paths else ""), across)


def _keys(one: Candidate, numbers: Mapping[str, HostNode], shared: re.Pattern[str] | None) -> Keys:
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
