"""A resource's devices as the kubelet asks for them. Pure.

There may be ten thousand, and mostly one of them changes at a time: each list is made from the one before, and only what is new in it costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nri_cdi.kubelet import api
from nri_cdi.kubelet.order import NaturalKey, natural

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nri_cdi.host.numa import Place
    from nri_cdi.kubelet.told import Device, Resource


@dataclass(frozen=True, slots=True, eq=False)
class Listing:
    """The list of a resource's devices, for ListAndWatch and GetPreferredAllocation."""

    resource: Resource
    message: bytes
    """The encoded ListAndWatchResponse."""
    places: Mapping[str, Place]
    """Where the devices sit, by id, in the list's order."""
    parts: Sequence[bytes]
    """The message device by device: what encodes a repeated field can be joined."""
    rank: Mapping[str, int]
    """The place of each device in the list, by id."""

    @classmethod
    def of(cls, resource: Resource, before: Listing | None = None) -> Listing:
        """The listing of a resource; what is the same in the listing `before` is taken from there."""
        devices = resource.devices
        if before is None:
            parts, moved = list(map(_encoded, devices)), True
        else:
            old, ranks = before.resource.devices, map(before.rank.get, [device.id for device in devices])
            parts = [
                before.parts[at] if at is not None and old[at] is device else _encoded(device)
                for at, device in zip(ranks, devices, strict=True)
            ]
            moved = len(old) != len(devices) or any(
                one is not device and (one.id, one.place) != (device.id, device.place)
                for one, device in zip(old, devices, strict=True)
            )
            if not moved:
                return cls(resource, b"".join(parts), before.places, parts, before.rank)
        places = {device.id: device.place for device in devices}
        return cls(resource, b"".join(parts), places, parts, {device: rank for rank, device in enumerate(places)})

    def order(self, device: str) -> tuple[int, NaturalKey | None]:
        """The sort key of a device: its place in the list, which is in natural order; ids that are not listed come behind it."""
        rank = self.rank.get(device)
        return (len(self.rank), natural(device)) if rank is None else (rank, None)


def _encoded(device: Device) -> bytes:
    """A list of one device. One whose NUMA node is not known has no topology: the kubelet then takes it for near to all."""
    one = api.Device(ID=device.id, health="Healthy" if device.healthy else "Unhealthy")
    if device.place.numa is not None:
        one.topology.nodes.add(ID=device.place.numa)
    encoded: bytes = api.ListAndWatchResponse(devices=[one]).SerializeToString()
    return encoded
