"""From an inventory to what ListAndWatch tells the kubelet. Pure."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from nri_cdi.host.numa import NOWHERE, Place
from nri_cdi.kubelet import health as healths
from nri_cdi.kubelet.candidates import Candidate, host_path
from nri_cdi.kubelet.catalog import differing
from nri_cdi.kubelet.order import NaturalKey, natural

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nri_cdi.kubelet.inventory import Inventory, Known, World

_FEW: Final = 8
"""What is less than so small a part is put into an ordered list one by one."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device as the kubelet is told of it.

    `reason` says what is wrong; a healthy device may have one while it settles (see `health`), and containers are held with it.
    """

    id: str
    qualified_name: str
    healthy: bool = True
    reason: str = ""
    place: Place = NOWHERE


@dataclass(frozen=True, slots=True)
class Resource:
    """An extended resource and its devices in natural order."""

    name: str
    kind: str
    devices: tuple[Device, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """What the kubelet is told, and what it was made from."""

    resources: tuple[Resource, ...]
    inventory: Inventory
    away: str


def tell(inventory: Inventory, world: World, kinds: Mapping[str, str], last: Told | None = None) -> Told:
    """What the kubelet is told: for each configured kind its resource (`kinds` gives its name) and the devices of the inventory.

    Devices of `last`, what it was told before of the same kinds, are used again where nothing is new.
    """
    told: Mapping[str, Known] = {}
    resources = tuple(Resource(name, kind) for kind, name in kinds.items())
    again: frozenset[str] = frozenset()
    if last is not None and last.away == world.away and inventory.catalog is not None:
        told, resources = last.inventory.known, last.resources
        again = inventory.catalog.names_at(world.renumbered) & inventory.known.keys()
        if last.inventory is inventory and not again:
            return last
    again |= differing(inventory.known, told)
    changed: dict[str, list[str]] = {kind: [] for kind in kinds}
    for name in again:
        changed[name.partition("=")[0]].append(name)
    return Told(
        tuple(_retold(old, changed[old.kind], inventory, world) if changed[old.kind] else old for old in resources),
        inventory,
        world.away,
    )


def _retold(old: Resource, names: Sequence[str], inventory: Inventory, world: World) -> Resource:
    """A resource of whose devices those with these names are new, otherwise, or gone."""
    new = {name: _device(name, known, world) for name in names if (known := inventory.known.get(name)) is not None}
    out = set(names)
    devices = []
    for device in old.devices:
        name = device.qualified_name
        if name not in out:
            devices.append(device)
        elif name in new:
            devices.append(new.pop(name))
    if len(new) < len(devices) // _FEW:
        for device in new.values():
            insort(devices, device, key=_in_order)
    elif new:
        devices = sorted((*devices, *new.values()), key=_in_order)
    return Resource(old.name, old.kind, tuple(devices))


def _in_order(device: Device) -> NaturalKey:
    return natural(device.id)


def _device(name: str, known: Known, world: World) -> Device:
    one, health = known.candidate, known.health
    healthy = health.healthy and not world.away
    reason = world.away if health.healthy and world.away else healths.said(health)
    return Device(one.id, name, healthy, reason, _place(one, world.places))


def _place(one: Candidate, places: Mapping[str, Place]) -> Place:
    """Where a device sits: the first of its own nodes that sits somewhere."""
    return next((place for node in one.nodes if (place := places.get(host_path(node), NOWHERE)) != NOWHERE), NOWHERE)
