"""Which names are one host device, and which of them is advertised. Pure.

The rule: a host device is handed out under one name only, whatever resources its names belong to. Two names are in each other's way
when both bring the same device node of the host (by path or by device numbers) or the same network interface. Not counted are the nodes that a
spec file brings to all its devices, memory devices (/dev/null, /dev/zero...), and the nodes that the configuration calls shared.

Names are taken in this order, each unless a name taken before is in its way: those that a container has; those that `prefer` names, in the order of its
patterns; those advertised before; those with fewer nodes (so the single devices win, and `all` is left out); those of the resource configured first; in
natural order.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from nri_cdi.kubelet.candidates import host_path
from nri_cdi.kubelet.order import few, natural

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


@dataclass(frozen=True, slots=True)
class Claims:
    """What was promised under a name and binds: the names advertised before, and those that a container has.

    `held` are candidates that do not resolve any more, and that keep their host devices all the same. `had` are the device nodes that
    containers may have got by the names in use. Those names that containers have of another resource, as the configuration was before, are `elsewhere`, with it:
    the kubelet does not know that they are in use.
    """

    before: frozenset[str] = frozenset()
    in_use: frozenset[str] = frozenset()
    held: Mapping[str, Candidate] = field(default_factory=dict)
    had: Mapping[str, tuple[DeviceNode, ...]] = field(default_factory=dict)
    elsewhere: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """The names that are advertised, and why the others are not; and what that was decided from."""

    names: frozenset[str] = frozenset()
    left_out: Mapping[str, Omission] = field(default_factory=dict)
    found: Mapping[str, Candidate] = field(default_factory=dict)
    keys: Mapping[str, Keys] = field(default_factory=dict)
    """Of those that take their host devices if they can."""
    had: Mapping[str, Keys] = field(default_factory=dict)
    """Of those that containers have, what these may have."""
    claims: Claims = Claims()


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
    claims: Claims = Claims(),
    last: Selection = NOTHING,
    renumbered: Collection[str] = (),
) -> Selection:
    """Which of the candidates `found` are advertised. `numbers` are the host's nodes, by path, as last seen.

    `last` is what this said before under the same rules and kinds, and `renumbered` are the names of which a node has other numbers since. The result is the
    same without it. But a candidate is in the way of few others: only those that share a host device with one that is new, directly or through others, are
    decided anew. It is `last` itself if none is.
    """
    defined, held = found, claims.held
    found = {**held, **defined} if held else defined
    again = {name for name, one in found.items() if last.found.get(name) is not one}
    again |= last.found.keys() - found.keys()
    again |= last.names ^ claims.before  # those that were selected would be so again if they had been advertised before
    again |= (last.claims.in_use ^ claims.in_use) | (last.claims.held.keys() ^ held.keys())
    again.update(renumbered)
    again.update(name for name, _ in last.claims.elsewhere.items() ^ claims.elsewhere.items())
    if last.claims.had is not claims.had:
        names = last.claims.had.keys() | claims.had.keys()
        again.update(name for name in names if last.claims.had.get(name) != claims.had.get(name))
    if not again:
        return last
    keys: dict[str, Keys] = {name: known for name, known in last.keys.items() if name not in again}
    had: dict[str, Keys] = {name: known for name, known in last.had.items() if name not in again}
    shared = _compiled(rules.shared)
    touched: set[Key] = set()
    for name in again & found.keys():
        if name in held or name in claims.in_use or _barred(found[name], rules) is None:
            keys[name] = _keys(found[name].nodes, found[name].interfaces, numbers, shared)
            if name in claims.had:
                had[name] = _keys(claims.had[name], (), {}, shared)
    for known in (keys, had, last.keys, last.had):
        for name in again & known.keys():
            touched.update(*known[name])
    others = {name: known | had[name] if name in had else known for name, known in keys.items() if name not in again}
    while touched and others:
        more = [name for name, known in others.items() if any(not touched.isdisjoint(node) for node in known)]
        touched = {key for name in more for node in others.pop(name) for key in node}
        again.update(more)
    barred = {name: why for name in again & defined.keys() if (why := _barred(found[name], rules)) is not None}
    taken, omitted = _decided(again & keys.keys(), found, keys, had, rules, kinds, claims)
    return Selection(
        last.names - again | (taken - barred.keys()),
        {name: why for name, why in last.left_out.items() if name not in again} | omitted | barred,
        found,
        keys,
        had,
        claims,
    )


def _barred(one: Candidate, rules: Rules) -> Omission | None:
    """Why a name is not advertised whatever else there is."""
    if not wanted(one.name, rules):
        return Omission("the configuration excludes it")
    if one.transient and not rules.include:
        return Omission(f"{one.file} is a transient spec, made for one claim")
    return None


def _decided(
    names: Collection[str],
    found: Mapping[str, Candidate],
    keys: Mapping[str, Keys],
    had: Mapping[str, Keys],
    rules: Rules,
    kinds: Sequence[str],
    claims: Claims,
) -> tuple[set[str], dict[str, Omission]]:
    """Which of these names are advertised, in the order of the rule, and why the others are not; no other name has one of their host devices."""
    place = {kind: index for index, kind in enumerate(kinds)}
    ranks = {}
    for name in names:
        one = found[name]
        promised = (_preference(name, rules.prefer), name not in claims.before)
        ranks[name] = (promised, len(keys[name]), place[one.kind], natural(one.id))
    in_order = sorted(names, key=ranks.__getitem__)
    used = [name for name in in_order if name in claims.in_use]
    free = [name for name in in_order if name not in claims.in_use]
    owners: dict[Key, Candidate] = {}
    taken = _take(used, found, keys, owners)
    for name in sorted(used):  # what else their containers have is nobody's either
        for node in keys[name] | had.get(name, frozenset()):
            for key in node:
                owners.setdefault(key, found[name])
    taken |= _take(free, found, keys, owners)
    taken -= claims.elsewhere.keys()
    left_out = {name: _omission(found[name], keys, owners, rules, claims) for name in names if name not in taken}
    return taken, left_out


def _take(
    names: Iterable[str], found: Mapping[str, Candidate], keys: Mapping[str, Keys], owners: dict[Key, Candidate]
) -> set[str]:
    """Let the names take their host devices in turn, and note that in `owners`: those that could."""
    taken = set()
    for name in names:
        mine = [key for node in keys[name] for key in node]
        if owners.keys().isdisjoint(mine):
            taken.add(name)
            owners.update(dict.fromkeys(mine, found[name]))
    return taken


def _omission(
    one: Candidate, keys: Mapping[str, Keys], owners: Mapping[Key, Candidate], rules: Rules, claims: Claims
) -> Omission:
    """Why a name is left out; `owners` has whose each host device is."""
    if one.name in claims.elsewhere:
        return Omission(f"a container has it as a device of {claims.elsewhere[one.name]}")
    own = keys[one.name]
    mine = {key for node in own for key in node}
    in_the_way = {owner.name: owner for key in mine if (owner := owners.get(key)) and owner.name != one.name}
    across = any(other.kind != one.kind for other in in_the_way.values())
    # Said only of those that are in the way for no other reason: containers come and go.
    used = [
        name
        for name in in_the_way.keys() & claims.in_use
        if name in claims.held
        or mine.isdisjoint(key for node in keys[name] for key in node)
        or _barred(in_the_way[name], rules) is not None
        or _preference(one.name, rules.prefer) < _preference(name, rules.prefer)
    ]
    if used:
        return Omission(f"a container has a host device of it as {few(used)}", across)
    some = few(in_the_way)
    taken = [node for node in own if any(key in owners for key in node)]
    if len(in_the_way) > 1:
        return Omission(f"its host devices are advertised as {some}", across)
    paths = ", ".join(sorted(key for node in taken for key in node if isinstance(key, str) and key in owners))
    what = "it is the same host device as" if len(taken) == len(own) else "it shares a host device with"
    return Omission(f"{what} {some}" + (f" ({paths})" if paths else ""), across)


def _keys(
    nodes: Iterable[DeviceNode],
    interfaces: Iterable[str],
    numbers: Mapping[str, HostNode],
    shared: re.Pattern[str] | None,
) -> Keys:
    """For each of these host devices what it is recognised by."""
    known = {keys for node in nodes if (keys := _node_keys(node, numbers, shared))}
    return frozenset(known | {frozenset((f"net:{name}",)) for name in interfaces})


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
