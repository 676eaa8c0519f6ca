"""The inventory: from a snapshot of CDI specs and looks at the host to what ListAndWatch tells the kubelet. Pure.

`advance` takes one inventory to the next; what it needs of the world is in `World`, so the same world gives the same inventory. Only
configured kinds are advertised, each under the name of its resource; a device's id is its CDI name. A device that was advertised once
stays in the list as unhealthy when it is gone, for a while: the kubelet then knows why it may not hand it out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from nri_cdi.host.numa import Place
from nri_cdi.kubelet import health as healths
from nri_cdi.kubelet.candidates import Candidate, Specs, candidates, host_path
from nri_cdi.kubelet.condition import problem
from nri_cdi.kubelet.identity import select, wanted
from nri_cdi.kubelet.order import natural

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nri_cdi.cdi import HostNode
    from nri_cdi.kubelet.condition import Look
    from nri_cdi.kubelet.health import Health
    from nri_cdi.kubelet.identity import Omission, Rules, Selection

FORGET: Final = 3600.0
"""Seconds after which a device that no spec names any more leaves the list; its resource goes with the last one. Long: nothing
waits for it, and until then the count of the node's devices says what is missing."""

UNSEEN: Final = "not seen since nri-cdi started"

_NAMED_IN_LOG: Final = 5
"""So many devices a log line names; the rest it counts."""

_NOWHERE: Final = Place()


@dataclass(frozen=True, slots=True)
class Device:
    """A device as the kubelet is told of it.

    `reason` says what is wrong; a healthy device may have one while it settles (see `health`), and containers are held with it.
    """

    id: str
    qualified_name: str
    healthy: bool = True
    reason: str = ""
    place: Place = _NOWHERE


@dataclass(frozen=True, slots=True)
class Resource:
    """An extended resource and its devices in natural order."""

    name: str
    kind: str
    devices: tuple[Device, ...] = ()


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
    changed: frozenset[str] | None = None
    """The paths at which something else is seen than in the world before; None: that is not known, or a node has other numbers."""
    away: str = ""
    """Why all devices are unhealthy whatever they are like: the NRI half is away; empty if it is not (see `link`)."""


@dataclass(frozen=True, slots=True, eq=False)
class Catalog:
    """What a snapshot says of the configured kinds: the devices that resolve, those in conflict, and the host paths to look at."""

    found: Mapping[str, Candidate]
    conflicts: Mapping[str, tuple[str, ...]]
    errors: tuple[str, ...]
    """The files that are not valid."""
    valid: frozenset[str]
    """The files that are."""
    paths: Mapping[str, tuple[str, ...]]
    """The host paths to look at, and the names of the devices whose condition depends on each."""

    @classmethod
    def of(cls, snapshot: Specs, kinds: Iterable[str]) -> Catalog:
        """The catalog of a snapshot."""
        kinds = frozenset(kinds)
        found = candidates(snapshot, kinds)
        conflicts = {name: paths for name, paths in snapshot.conflicts.items() if name.partition("=")[0] in kinds}
        valid = frozenset(file.path for file in snapshot.specs)
        paths: dict[str, list[str]] = {}
        for one in found.values():
            for path in dict.fromkeys(cls.paths_of(one)):
                paths.setdefault(path, []).append(one.name)
        names = {path: tuple(names) for path, names in paths.items()}
        return cls(found, conflicts, tuple(sorted(snapshot.errors)), valid, names)

    @staticmethod
    def paths_of(one: Candidate) -> tuple[str, ...]:
        """The host paths that the condition of one device depends on."""
        return tuple(host_path(node) for node in (*one.common, *one.nodes))


@dataclass(frozen=True, slots=True)
class Known:
    """A device that is or was advertised: its health, what it was made of when it was last seen, and since when it is gone (seconds)."""

    health: Health
    candidate: Candidate
    gone_since: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Inventory:
    """The devices that are or were advertised, by qualified name; and of what is not advertised, why."""

    known: Mapping[str, Known] = field(default_factory=dict)
    left_out: Mapping[str, Omission] = field(default_factory=dict)
    catalog: Catalog | None = None
    """What it was made from."""


def advance(
    before: Inventory,
    catalog: Catalog,
    world: World,
    rules: Rules,
    kinds: Sequence[str],
    patience: Patience,
    now: float,
) -> Inventory:
    """The inventory after a look at the world at time `now`. `kinds` are the configured ones, in order.

    It is `before` itself if nothing is new, and shares with it what stays: a device that changes among ten thousand is little work.
    """
    if before.catalog is catalog and world.changed is not None:
        restless = _restless(before)
        if not any(known.gone_since is not None and moment <= now for _, known, moment in restless):
            names = {name for path in world.changed for name in catalog.paths[path]}
            return _touched(before, catalog, world, names | {name for name, _, _ in restless}, patience, now)
    # What a broken spec file named stays what it is while it settles: no other name may take its host device.
    held = {
        name: old.candidate
        for name, old in before.known.items()
        if name not in catalog.found and old.health.healthy and old.candidate.file not in catalog.valid
    }
    sticky = {name for name, old in before.known.items() if old.gone_since is None} | held.keys()
    chosen = select({**held, **catalog.found}.values(), world.nodes, rules, kinds, sticky)
    known: dict[str, Known] = {}
    for name in chosen.names & catalog.found.keys():
        known[name] = _present(before.known.get(name), catalog.found[name], world.looks, patience, now)
    for name, paths in catalog.conflicts.items():
        kind, _, device = name.partition("=")
        if kind in kinds and wanted(name, rules):
            reason = f"defined more than once in one directory, by {' and '.join(paths)}: keep one of them"
            new = Known(healths.first(reason), Candidate(name, kind, device, paths[0]), now)
            known[name] = _absent(before.known.get(name, new), reason, patience, now, settles=True)
    for name, old in before.known.items():
        if name in known or old.candidate.kind not in kinds or not wanted(name, rules):
            continue
        if old.gone_since is not None and now - old.gone_since >= FORGET:
            continue
        # A valid file that names it no more, or another name for its host device, is a statement; anything else may be an accident.
        said_so = name in chosen.left_out or old.candidate.file in catalog.valid
        known[name] = _absent(old, _gone(name, catalog, chosen), patience, now, settles=not said_so)
    left_out = {name: why for name, why in chosen.left_out.items() if name in catalog.found}
    return Inventory(known, left_out, catalog)


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


def _touched(
    before: Inventory, catalog: Catalog, world: World, names: set[str], patience: Patience, now: float
) -> Inventory:
    """The inventory after a look that found something else at these devices only."""
    new = {}
    for name in names & catalog.found.keys():
        old = before.known.get(name)
        if old is not None and old.gone_since is None:
            known = _present(old, catalog.found[name], world.looks, patience, now)
            if known is not old:
                new[name] = known
    return Inventory({**before.known, **new}, before.left_out, catalog) if new else before


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
    return Known(healths.step(health, reason, now), old.candidate, now if old.gone_since is None else old.gone_since)


def _gone(name: str, catalog: Catalog, chosen: Selection) -> str:
    """Why a device is not there any more."""
    if name in chosen.left_out:
        return f"not advertised any more: {chosen.left_out[name].reason}"
    reason = "no valid CDI spec of this node defines it any more"
    if catalog.errors:
        reason += f"; not valid: {some(catalog.errors)}"
    return reason


def remember(healthy: Mapping[Candidate, bool], *, same_boot: bool, patience: Patience, now: float) -> Inventory:
    """The inventory of an earlier process of ours, from what it remembered: devices, and whether they were healthy.

    Healthy ones settle. Unhealthy ones do so only if the node was booted since: what broke them is over, perhaps.
    """
    known = {}
    for one, was_healthy in healthy.items():
        if was_healthy or not same_boot:
            known[one.name] = Known(healths.remembered(UNSEEN, now + patience.start), one, now)
        else:
            known[one.name] = Known(healths.first(UNSEEN), one, now)
    return Inventory(known)


def due(inventory: Inventory) -> float | None:
    """When `advance` would say something else although the world is the same; None if never."""
    return min((moment for _, _, moment in _restless(inventory)), default=None)


def undecided(inventory: Inventory, catalog: Catalog) -> frozenset[str]:
    """The paths of the devices of which time alone changes what is known: it is to be decided by what is there then."""
    found = (catalog.found[name] for name, _, _ in _restless(inventory) if name in catalog.found)
    return frozenset(path for one in found for path in Catalog.paths_of(one))


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """What the kubelet is told, and what it was made from."""

    resources: tuple[Resource, ...]
    inventory: Inventory
    away: str


def tell(inventory: Inventory, world: World, kinds: Mapping[str, str], last: Told | None = None) -> Told:
    """What the kubelet is told: for each configured kind its resource (`kinds` gives its name) and the devices of the inventory.

    Devices of `last`, what it was told before, are used again where nothing is new.
    """
    if last is not None and last.away == world.away:
        if last.inventory is inventory:
            return last
        if world.changed is not None and last.inventory.catalog is inventory.catalog:
            before = last.inventory.known
            if before.keys() == inventory.known.keys():
                return Told(
                    tuple(_retold(old, before, inventory, world) for old in last.resources), inventory, world.away
                )
    devices: dict[str, list[Device]] = {kind: [] for kind in kinds}
    for name, known in inventory.known.items():
        devices[known.candidate.kind].append(_device(name, known, world))
    return Told(
        tuple(
            Resource(name, kind, tuple(sorted(devices[kind], key=lambda device: natural(device.id))))
            for kind, name in kinds.items()
        ),
        inventory,
        world.away,
    )


def _retold(old: Resource, before: Mapping[str, Known], inventory: Inventory, world: World) -> Resource:
    """A resource whose devices are the same, some of them in another state."""
    known = inventory.known
    devices = tuple(
        device
        if known[device.qualified_name] is before[device.qualified_name]
        else _device(device.qualified_name, known[device.qualified_name], world)
        for device in old.devices
    )
    return Resource(old.name, old.kind, devices)


def _device(name: str, known: Known, world: World) -> Device:
    one, health = known.candidate, known.health
    healthy = health.healthy and not world.away
    reason = world.away if health.healthy and world.away else healths.said(health)
    return Device(one.id, name, healthy, reason, _place(one, world.places))


def _place(one: Candidate, places: Mapping[str, Place]) -> Place:
    """Where a device sits: the first of its own nodes that sits somewhere."""
    return next((place for node in one.nodes if (place := places.get(host_path(node), _NOWHERE)) != _NOWHERE), _NOWHERE)


def some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - _NAMED_IN_LOG
    return ", ".join(names[:_NAMED_IN_LOG]) + (f" and {more} more" if more > 0 else "")
