"""What an operator should read in the log about the step from one inventory to the next. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nri_cdi.kubelet.inventory import some
from nri_cdi.kubelet.order import natural

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nri_cdi.kubelet.identity import Omission
    from nri_cdi.kubelet.told import Device, Resource


@dataclass(frozen=True, slots=True)
class Change:
    """A line for the log, and whether it asks for somebody's attention."""

    text: str
    alarming: bool = False


def changes(previous: tuple[Resource, ...], present: tuple[Resource, ...]) -> tuple[Change, ...]:
    """The lines about devices: how many, and why some are not healthy or settle; nothing for no change."""
    before = {resource.kind: resource for resource in previous}
    said: list[Change] = []
    for resource in present:
        old = before.get(resource.kind)
        if old == resource:
            continue
        healthy = sum(device.healthy for device in resource.devices)
        said.append(Change(f"{resource.name}: {len(resource.devices)} devices, {healthy} healthy"))
        known = {device.id: device for device in old.devices} if old else {}
        new = [device for device in resource.devices if device.reason and device != known.get(device.id)]
        said += [
            Change(f"{resource.name}: unhealthy: {some(ids)}: {reason}", alarming=True)
            for reason, ids in _by_reason(device for device in new if not device.healthy).items()
        ]
        said += [
            Change(
                f"{resource.name}: healthy while they settle, their containers are held: {some(ids)}: {reason}",
                alarming=True,
            )
            for reason, ids in _by_reason(device for device in new if device.healthy).items()
        ]
    return tuple(said)


def omissions(previous: Mapping[str, Omission], present: Mapping[str, Omission]) -> tuple[Change, ...]:
    """The lines about names that are not advertised, gathered by reason; alarming where two resources of ours have one host device."""
    new: dict[Omission, list[str]] = {}
    for name in sorted(present, key=natural):
        if previous.get(name) != present[name]:
            new.setdefault(present[name], []).append(name)
    return tuple(Change(f"not advertised: {some(names)}: {why.reason}", why.across) for why, names in new.items())


def _by_reason(devices: Iterable[Device]) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for device in devices:
        reasons.setdefault(device.reason, []).append(device.id)
    return reasons
