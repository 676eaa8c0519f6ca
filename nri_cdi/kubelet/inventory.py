"""The inventory: from a snapshot of CDI specs and looks at the host to what is known of each device. Pure.

`advance` takes one inventory to the next; what it needs of the world is in `World`, so the same world gives the same inventory. Only
configured kinds are advertised, each under the name of its resource; a device's id is its CDI name. A device that was advertised once
stays in the list as unhealthy when it is gone, for a while: the kubelet then knows why it may not hand it out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from nri_cdi.cdi import DeviceNode
from nri_cdi.kubelet import health as healths
from nri_cdi.kubelet.candidates import Candidate, host_path
from nri_cdi.kubelet.catalog import Catalog
from nri_cdi.kubelet.condition import problem
from nri_cdi.kubelet.identity import NOTHING, Claims, Selection, select, wanted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nri_cdi.cdi import HostNode
    from nri_cdi.host.numa import Place
    from nri_cdi.kubelet.condition import Look
    from nri_cdi.kubelet.health import Health
    from nri_cdi.kubelet.identity import Omission, Rules

FORGET: Final = 3600.0
"""Seconds after which a device that no spec names any more leaves the list; its resource goes with the last one. Long: nothing
waits for it, and until then the count of the node's devices says what is missing."""

UNSEEN: Final = "not seen since nri-cdi started"

_NAMED_IN_LOG: Final = 5
"""So many devices a log line names; the rest it counts."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long devices settle, in seconds: after our start (a boot may be under way), and after a change of their spec file."""

    start: float = 60.0
    specs: float = 10.0


@dataclass(frozen=True, slots=True)
class World:
    """What is seen of the host: a look at each of `Catalog.paths`, and its nodes as they were last seen there."""

    looks: Mapping[str, Look]
    nodes: Mapping[str, HostNode]
    places: Mapping[str, Place] = field(default_factory=dict)
    """Where the host's nodes sit, by path."""
    changed: frozenset[str] = frozenset()
    """The paths at which something else is seen than in the world before."""
    renumbered: Mapping[str, HostNode | None] = field(default_factory=dict)
    """Those of them at which a node has other numbers than when there was one before, or is seen for the first time; and that one before."""
    away: str = ""
    """Why all devices are unhealthy whatever they are like: the NRI half is away; empty if it is not (see `link`)."""
    in_use: frozenset[str] = frozenset()
    """The names under which containers have devices."""
    renewed: frozenset[str] = frozenset()
    """Those of them that other containers have than in the world before, and none of these."""
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    """Those of them that containers have of another resource than the configured one, with it."""


@dataclass(frozen=True, slots=True)
class Known:
    """A device that is or was advertised: its health, what it was made of when it was last seen, and since when it is gone (seconds).

    It is `promised` if a process before this one advertised it, and this one has not seen it yet.
    """

    health: Health
    candidate: Candidate
    gone_since: float | None = None
    promised: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Inventory:
    """The devices that are or were advertised, by qualified name; and of what resolves and is not advertised, why."""

    known: Mapping[str, Known] = field(default_factory=dict)
    left_out: Mapping[str, Omission] = field(default_factory=dict)
    catalog: Catalog | None = None
    """What it was made from."""
    selection: Selection = NOTHING
    had: Mapping[str, tuple[DeviceNode, ...]] = field(default_factory=dict)
    """For the names that containers have: the device nodes, with the host's numbers, that they have brought since. A container may have got any of them."""


def advance(
    before: Inventory,
    catalog: Catalog,
    world: World,
    rules: Rules,
    kinds: Sequence[str],
    patience: Patience,
    now: float,
) -> Inventory:
    """The inventory after a look at the world at time `now`. `kinds` are the configured ones, in order; they and the rules are those of `before`.

    It is `before` itself if nothing is new, and shares with it what stays: a few devices that change among ten thousand are little work.
    """
    had = _had(before, catalog, world)
    chosen = _chosen(before, catalog, world, rules, kinds, had)
    step = _Step(catalog, chosen, world, rules, kinds, patience, now)
    new: dict[str, Known] = {}
    gone: set[str] = set()
    for name in _undecided(before, catalog, world, chosen):
        old = before.known.get(name)
        one = step.decided(name, old)
        if one is None and old is not None:
            gone.add(name)
        elif one is not None and one is not old:
            new[name] = one
    if not new and not gone and chosen is before.selection and catalog is before.catalog and had is before.had:
        return before  # whatever is held was so before
    known = before.known
    if gone:
        known = {name: old for name, old in known.items() if name not in gone}
    if new:
        known = {**known, **new}
    left_out = {name: why for name, why in chosen.left_out.items() if name in catalog.found}
    after = Inventory(known, left_out, catalog, chosen, had)
    if _held(after, catalog, world) != chosen.claims.held:  # it has settled: its host devices are free
        nothing_new = replace(world, changed=frozenset(), renumbered={}, renewed=frozenset())
        return advance(after, catalog, nothing_new, rules, kinds, patience, now)
    return after


def _chosen(
    before: Inventory,
    catalog: Catalog,
    world: World,
    rules: Rules,
    kinds: Sequence[str],
    had: Mapping[str, tuple[DeviceNode, ...]],
) -> Selection:
    """Which names are advertised."""
    last, held = before.selection, _held(before, catalog, world)
    as_used = last.claims.in_use == world.in_use and last.claims.had is had and last.claims.elsewhere == world.elsewhere
    if last.found is catalog.found and not held and not world.renumbered and as_used:
        return last  # it was decided from the same: those that were selected would be so again
    advertised = frozenset(name for name, old in before.known.items() if old.gone_since is None or old.promised)
    claims = Claims(advertised | held.keys(), world.in_use, held, had, world.elsewhere)
    renumbered = catalog.names_at(world.renumbered)
    if world.renumbered:
        renumbered |= {
            name for name, one in held.items() if any(host_path(node) in world.renumbered for node in one.nodes)
        }
    return select(catalog.found, world.nodes, rules, kinds, claims, last, renumbered)


def _held(inventory: Inventory, catalog: Catalog, world: World) -> dict[str, Candidate]:
    """What does not resolve any more, and whose host devices no other name may take all the same: what settles, and what a container has."""
    valid, conflicts = catalog.valid, catalog.conflicts
    return {
        name: old.candidate
        for name, old in inventory.known.items()
        if name not in catalog.found
        and (
            name in world.in_use
            or (old.health.healthy and (old.promised or name in conflicts or old.candidate.file not in valid))
        )
    }


def _had(before: Inventory, catalog: Catalog, world: World) -> Mapping[str, tuple[DeviceNode, ...]]:
    """`Inventory.had`; that of `before` itself if there is nothing else."""
    if not world.in_use and not before.had:
        return before.had
    earlier = before.catalog.found if before.catalog is not None else {}
    renumbered = catalog.names_at(world.renumbered)
    numbers_before = {**world.nodes, **world.renumbered}
    had = {}
    for name in world.in_use:
        old, found, nodes = before.known.get(name), catalog.found.get(name), before.had.get(name, ())
        moved = found is not earlier.get(name) or name in renumbered or name in world.renewed
        if moved or not nodes:
            kept = () if name in world.renewed else nodes
            was = () if old is None or old.promised else _as_seen(old.candidate, numbers_before)
            now = () if found is None else _as_seen(found, world.nodes)
            nodes = tuple(dict.fromkeys((*kept, *was, *now)))
        if nodes:
            had[name] = nodes
    return before.had if had == before.had else had


def _as_seen(one: Candidate, numbers: Mapping[str, HostNode | None]) -> list[DeviceNode]:
    """The candidate's own device nodes of the host, with the numbers that they have there where it gives none."""
    nodes = []
    for node in one.nodes:
        path = host_path(node)
        there = None if node.type and node.major else numbers.get(path)
        kind, major, minor = (there or node).type, (there or node).major, (there or node).minor
        nodes.append(DeviceNode(path, "", kind, major, minor))
    return nodes


def _undecided(before: Inventory, catalog: Catalog, world: World, chosen: Selection) -> frozenset[str]:
    """The names of which something else may have to be said than before."""
    earlier = before.catalog
    if earlier is None:
        return frozenset(before.known.keys() | catalog.found.keys() | catalog.conflicts.keys())
    names = set(catalog.names_at(world.changed))
    names.update(name for name, _, _ in _restless(before))
    if catalog is earlier and chosen is before.selection:
        return frozenset(names)
    names.update(name for name, old in before.known.items() if old.gone_since is not None)
    names |= chosen.names ^ before.selection.names
    if catalog is not earlier:
        names |= catalog.differing(earlier) | catalog.conflicts.keys() | earlier.conflicts.keys()
    return frozenset(names)


@dataclass(frozen=True, slots=True)
class _Step:
    """What `advance` decides about each device by."""

    catalog: Catalog
    chosen: Selection
    world: World
    rules: Rules
    kinds: Sequence[str]
    patience: Patience
    now: float

    def decided(self, name: str, old: Known | None) -> Known | None:
        """What is known of this device now; None if it is no device to tell of."""
        found = self.catalog.found.get(name)
        if found is not None and name in self.chosen.names:
            return _present(old, found, self.world.looks, self.patience, self.now)
        if paths := self.catalog.conflicts.get(name):
            return self._in_conflict(name, old, paths)
        if old is None or old.candidate.kind not in self.kinds:
            return None
        forgotten = old.gone_since is not None and self.now - old.gone_since >= FORGET
        if (forgotten or not wanted(name, self.rules)) and name not in self.world.in_use:
            return None
        # A valid file that names it no more, or another name for its host device, is a statement; anything else may be an accident. After our start
        # the files may still be about to be written.
        said_so = name in self.chosen.left_out or (old.candidate.file in self.catalog.valid and not old.promised)
        reason = _gone(old.candidate, self.catalog, self.chosen)
        return _absent(old, reason, self.patience, self.now, settles=not said_so)

    def _in_conflict(self, name: str, old: Known | None, paths: tuple[str, ...]) -> Known | None:
        kind, _, device = name.partition("=")
        if kind not in self.kinds or not (wanted(name, self.rules) or (old and name in self.world.in_use)):
            return None
        reason = f"defined more than once in one directory, by {' and '.join(paths)}: keep one of them"
        old = old or Known(healths.first(reason), Candidate(name, kind, device, paths[0]), self.now)
        return _absent(old, reason, self.patience, self.now, settles=name not in self.chosen.left_out)


def _restless(inventory: Inventory) -> list[tuple[str, Known, float]]:
    """The devices of which time alone changes what is known, and when."""
    found = []
    for name, known in inventory.known.items():
        if known.health.healthy and not known.health.reason:
            continue  # nearly all
        moment = healths.due(known.health)
        if known.gone_since is not None:
            moment = min(known.gone_since + FORGET, moment or float("inf"))
        if moment is not None:
            found.append((name, known, moment))
    return found


def _present(old: Known | None, one: Candidate, looks: Mapping[str, Look], patience: Patience, now: float) -> Known:
    reason = problem(one, looks)
    if old is None:
        return Known(healths.first(reason), one)
    same = old.candidate == one
    health = old.health if same else healths.settle(old.health, now + patience.specs)
    health = healths.step(health, reason, now)
    return old if same and health is old.health and old.gone_since is None else Known(health, one)


def _absent(old: Known, reason: str, patience: Patience, now: float, *, settles: bool) -> Known:
    health = old.health
    if not settles:
        health = healths.settled(health)
    elif old.gone_since is None:
        health = healths.settle(health, now + patience.specs)
    gone_since = now if old.gone_since is None else old.gone_since
    new = Known(healths.step(health, reason, now), old.candidate, gone_since, old.promised)
    return old if new == old else new


def _gone(one: Candidate, catalog: Catalog, chosen: Selection) -> str:
    """Why a device is not there any more. Of the files that are not valid only its own is named: others come and go, and it is gone all the same."""
    if one.name in chosen.left_out:
        return f"not advertised any more: {chosen.left_out[one.name].reason}"
    reason = "no valid CDI spec of this node defines it any more"
    return f"{reason}; not valid: {one.file}" if one.file in catalog.errors else reason


@dataclass(frozen=True, slots=True)
class Recalled:
    """A device as an earlier process of ours last told of it: whether it was healthy, whether a spec file defined it, and see `Inventory.had`."""

    candidate: Candidate
    healthy: bool
    defined: bool = True
    had: tuple[DeviceNode, ...] = ()


def remember(devices: Iterable[Recalled], *, same_boot: bool, patience: Patience, now: float) -> Inventory:
    """The inventory of an earlier process of ours, from what it remembered.

    Healthy devices settle. Unhealthy ones do so only if the node was booted since: what broke them is over, perhaps. Nor has a container of
    the earlier boot anything then: it starts again, with what its names bring now.
    """
    known, had = {}, {}
    for one in devices:
        name = one.candidate.name
        settles = one.healthy or not same_boot
        health = healths.remembered(UNSEEN, now + patience.start) if settles else healths.first(UNSEEN)
        known[name] = Known(health, one.candidate, now, promised=one.healthy or one.defined)
        if same_boot and (nodes := one.had or one.candidate.nodes):
            had[name] = nodes
    return Inventory(known, had=had)


def due(inventory: Inventory, now: float) -> float | None:
    """When, after `now`, `advance` would say something else although the world is the same; None if never."""
    return min((moment for _, _, moment in _restless(inventory) if moment > now), default=None)


def undecided(inventory: Inventory, catalog: Catalog) -> frozenset[str]:
    """The paths of the devices of which time alone changes what is known: it is to be decided by what is there then."""
    found = (catalog.found[name] for name, _, _ in _restless(inventory) if name in catalog.found)
    return frozenset(path for one in found for path in Catalog.paths_of(one))


def some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - _NAMED_IN_LOG
    return ", ".join(names[:_NAMED_IN_LOG]) + (f" and {more} more" if more > 0 else "")
