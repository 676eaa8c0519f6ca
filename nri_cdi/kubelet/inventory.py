"""The inventory: from a snapshot of CDI specs to what ListAndWatch tells the kubelet. Pure.

Only configured kinds are advertised. The resource's name is the kind (`vendor.com/class`), a device's id is its CDI name. A
device that was advertised once stays in the list as unhealthy when it is gone: the kubelet then knows why it may not hand it out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from nri_cdi.kubelet.order import natural

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PREFIX_MAX: Final = 244
"""Bytes of a resource's domain: 253 for a DNS name, less the `requests.` that quotas put before it."""

NAME_MAX: Final = 63
"""Bytes of a resource's name part, Kubernetes' limit for the last part of a qualified name."""

_NAMED_IN_LOG: Final = 5
"""So many devices a log line names; the rest it counts."""

_DOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAME: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")


class SpecNames(Protocol):
    """What an inventory needs of `nri_cdi.cdi.Snapshot`."""

    @property
    def devices(self) -> Mapping[str, object]:
        """The devices that resolve, by qualified name."""

    @property
    def conflicts(self) -> Mapping[str, Sequence[str]]:
        """The paths that define one qualified name in conflict, by that name."""

    @property
    def errors(self) -> Mapping[str, object]:
        """What is wrong with the spec files that are not valid, by path."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device as the kubelet is told of it. `reason` says why it is not healthy, and is empty when it is."""

    id: str
    qualified_name: str
    healthy: bool = True
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Resource:
    """An extended resource and its devices in natural order."""

    name: str
    kind: str
    devices: tuple[Device, ...] = ()


def resource_name_problem(kind: str) -> str | None:
    """Why Kubernetes refuses the CDI kind `kind` as the name of an extended resource, or None if it takes it.

    CDI allows more than Kubernetes: capitals and underscores in the vendor, for one. The kubelet refuses such a name at each
    Register; said at configuration time it is found once.
    """
    domain, slash, name = kind.partition("/")
    said = f"{kind!r} cannot be a Kubernetes resource"
    if not slash or not domain or not name or "/" in name:
        return f"{said}: it must be a CDI kind, vendor/class, as in device.example.com/gpu"
    if "kubernetes.io/" in kind:
        return f"{said}: names under kubernetes.io/ are Kubernetes' own; give the specs another vendor"
    if domain.startswith("requests."):
        return f"{said}: a vendor that begins with 'requests.' is taken for a quota; give the specs another vendor"
    if not _DOMAIN.fullmatch(domain) or len(domain) > PREFIX_MAX:
        return (
            f"{said}: the vendor {domain!r} must be a DNS name of at most {PREFIX_MAX} bytes: "
            "lower-case letters, digits, '-' and '.', each part beginning and ending with a letter or digit"
        )
    if not _NAME.fullmatch(name) or len(name) > NAME_MAX:
        return (
            f"{said}: the class {name!r} must have at most {NAME_MAX} bytes: "
            "letters, digits, '-', '_' and '.', beginning and ending with a letter or digit"
        )
    return None


def inventory(snapshot: SpecNames, kinds: Iterable[str], previous: tuple[Resource, ...] = ()) -> tuple[Resource, ...]:
    """The resources of the configured `kinds`, in their order, from a snapshot and the inventory before it.

    Devices that resolve are healthy. A name in conflict is unhealthy, as is a device of `previous` that the snapshot no longer
    knows. A kind without any device is a resource without devices: the kubelet shows capacity 0.
    """
    before = {resource.kind: resource for resource in previous}
    found: dict[str, dict[str, Device]] = {kind: {} for kind in kinds}
    for name in snapshot.devices:
        kind, _, device = name.partition("=")
        if kind in found:
            found[kind][device] = Device(device, name)
    for name, paths in snapshot.conflicts.items():
        kind, _, device = name.partition("=")
        if kind in found:
            reason = f"defined more than once in one directory, by {' and '.join(paths)}: keep one of them"
            found[kind][device] = Device(device, name, healthy=False, reason=reason)
    gone = _gone(snapshot)
    for kind, devices in found.items():
        for old in before[kind].devices if kind in before else ():
            devices.setdefault(old.id, Device(old.id, old.qualified_name, healthy=False, reason=gone))
    return tuple(
        Resource(kind, kind, tuple(sorted(devices.values(), key=lambda device: natural(device.id))))
        for kind, devices in found.items()
    )


def _gone(snapshot: SpecNames) -> str:
    """Why a device is not there any more, with the files that may have defined it."""
    reason = "no valid CDI spec of this node defines it any more"
    if snapshot.errors:
        reason += f"; not valid: {_some(sorted(snapshot.errors))}"
    return reason


@dataclass(frozen=True, slots=True)
class Change:
    """A line for the log, and whether it asks for somebody's attention."""

    text: str
    alarming: bool = False


def changes(previous: tuple[Resource, ...], present: tuple[Resource, ...]) -> tuple[Change, ...]:
    """What an operator should read about the step from one inventory to the next; nothing for no change."""
    before = {resource.kind: resource for resource in previous}
    said: list[Change] = []
    for resource in present:
        old = before.get(resource.kind)
        if old == resource:
            continue
        healthy = sum(device.healthy for device in resource.devices)
        said.append(Change(f"{resource.name}: {len(resource.devices)} devices, {healthy} healthy"))
        known = set(old.devices) if old else set()
        unhealthy: dict[str, list[str]] = {}
        for device in resource.devices:
            if not device.healthy and device not in known:
                unhealthy.setdefault(device.reason, []).append(device.id)
        said += [
            Change(f"{resource.name}: unhealthy: {_some(ids)}: {reason}", alarming=True)
            for reason, ids in unhealthy.items()
        ]
    return tuple(said)


def _some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - _NAMED_IN_LOG
    return ", ".join(names[:_NAMED_IN_LOG]) + (f" and {more} more" if more > 0 else "")
