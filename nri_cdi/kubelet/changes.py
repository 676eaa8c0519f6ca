"""What an operator should read in the log about the step from one inventory to the next. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from nri_cdi.kubelet.inventory import some
from nri_cdi.kubelet.order import natural

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nri_cdi.kubelet.identity import Omission
    from nri_cdi.kubelet.told import Resource

LINES: Final = 5
"""With more reasons than these, those that differ in paths, names and numbers only share a line; and there are no more lines than these of a sort."""

_PARTICULARS: Final = re.compile(r"(?:\S*[/0-9]\S*\s*)+")
"""What tells a reason from others like it: words with a slash or a digit."""


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
        if not resource.devices:
            said.append(
                Change(
                    f"{resource.name}: no devices: not registered until a CDI spec defines a device of kind {resource.kind} (capitals count) "
                    "that the configuration lets through"
                )
            )
            continue
        healthy = sum(device.healthy for device in resource.devices)
        said.append(Change(f"{resource.name}: {len(resource.devices)} devices, {healthy} healthy"))
        known = {device.id: device for device in old.devices} if old else {}
        new = [device for device in resource.devices if device.reason and device != known.get(device.id)]
        said += [
            Change(f"{resource.name}: unhealthy: {line}", alarming=True)
            for line in _gathered((device.id, device.reason) for device in new if not device.healthy)
        ]
        said += [
            Change(f"{resource.name}: healthy while they settle, their containers are held: {line}", alarming=True)
            for line in _gathered((device.id, device.reason) for device in new if device.healthy)
        ]
    return tuple(said)


def omissions(previous: Mapping[str, Omission], present: Mapping[str, Omission]) -> tuple[Change, ...]:
    """The lines about names that are not advertised, gathered by reason; alarming where two resources of ours have one host device."""
    new: dict[bool, list[tuple[str, str]]] = {False: [], True: []}
    for name in sorted(present, key=natural):
        if previous.get(name) != present[name]:
            new[present[name].across].append((name, present[name].reason))
    return tuple(
        Change(f"not advertised: {line}", across) for across, reasons in new.items() for line in _gathered(reasons)
    )


def _gathered(reasons: Iterable[tuple[str, str]]) -> list[str]:
    """Names, each with a reason, as a few lines."""
    same: dict[str, list[str]] = {}
    for name, reason in reasons:
        same.setdefault(reason, []).append(name)
    if len(same) <= LINES:
        return [f"{some(names)}: {reason}" for reason, names in same.items()]
    alike: dict[str, list[str]] = {}
    for reason in same:
        alike.setdefault(_PARTICULARS.sub(" ", reason), []).append(reason)
    groups = [(group, "likewise") for group in alike.values()]
    if len(groups) > LINES:
        groups[LINES - 1 :] = [([reason for group, _ in groups[LINES - 1 :] for reason in group], "for other reasons")]
    return [
        f"{some([name for reason in group for name in same[reason]])}: {group[0]}"
        + (f" ({same[group[0]][0]}; the others {how})" if len(group) > 1 else "")
        for group, how in groups
    ]
