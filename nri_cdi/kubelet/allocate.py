"""Allocate's answer: device ids become one annotation key and its guard. Pure, and it never fails for a reason that can pass.

An error of Allocate ends the pod for good, so a device that is not known is promised by its qualified name like any other:
PreStartContainer and CreateContainer refuse that name later, where the kubelet shows the reason and tries again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nri_cdi.allocation import GUARD_SOURCE, guard_destinations, key_name
from nri_cdi.cdi import parse_qualified_name
from nri_cdi.kubelet import api
from nri_cdi.kubelet.order import natural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount of the container, bound from the host."""

    container_path: str
    host_path: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class Allocation:
    """What Allocate answers for one container and one resource."""

    annotations: Mapping[str, str]
    mounts: tuple[Mount, ...]


def qualified_names(ids: Iterable[str], kind: str) -> tuple[str, ...]:
    """The qualified names of the device ids of a kind, each once, in natural order."""
    return tuple(f"{kind}={device}" for device in sorted(set(ids), key=natural))


def allocate(ids: Iterable[str], kind: str, *, prefix: str, random_id: bytes, guard: bool) -> Allocation:
    """The allocation of the devices `ids` of `kind`: one key with their qualified names, and its two guard mounts if `guard`.

    `random_id` is 16 bytes, the allocation's own: no two allocations may share a key, the kubelet keeps only one of two values. The
    order of `ids` and their repetition do not matter. No ids are no allocation: an empty answer.
    """
    names = qualified_names(ids, kind)
    if not names:
        return Allocation({}, ())
    key = key_name(random_id)
    destinations = guard_destinations(key) if guard else ()
    mounts = tuple(Mount(destination, GUARD_SOURCE, read_only=True) for destination in destinations)
    return Allocation({prefix + key: ",".join(names)}, mounts)


def allocate_names(
    names: Iterable[str], *, prefix: str, random_id: Callable[[], bytes], guard: bool
) -> dict[str, Allocation]:
    """The allocations that the qualified `names` get, by resource, in the order in which the resources are first named.

    `random_id` is called once for each resource. Raises `nri_cdi.cdi.InvalidName` for a name that is not qualified.
    """
    ids: dict[str, list[str]] = {}
    for text in names:
        name = parse_qualified_name(text)
        ids.setdefault(f"{name.vendor}/{name.cls}", []).append(name.name)
    return {
        kind: allocate(devices, kind, prefix=prefix, random_id=random_id(), guard=guard)
        for kind, devices in ids.items()
    }


def to_response(allocation: Allocation) -> api.ContainerAllocateResponse:
    """The protobuf message of an allocation."""
    return api.ContainerAllocateResponse(
        annotations=allocation.annotations,
        mounts=[
            api.Mount(container_path=mount.container_path, host_path=mount.host_path, read_only=mount.read_only)
            for mount in allocation.mounts
        ],
    )


def to_plain(allocation: Allocation) -> dict[str, object]:
    """An allocation as plain data, under the names of ContainerAllocateResponse; `envs` and `devices` are always empty."""
    return {
        "annotations": dict(allocation.annotations),
        "mounts": [
            {"container_path": mount.container_path, "host_path": mount.host_path, "read_only": mount.read_only}
            for mount in allocation.mounts
        ],
        "envs": {},
        "devices": [],
    }
