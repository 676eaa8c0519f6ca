"""Which containers of a node carry an answer of ours: read from the kubelet's checkpoint. Pure.

The kubelet keeps each Allocate answer for the life of the pod and replays it at every start of the container. So these are the containers that
cannot restart as they are when nri-cdi is gone: a guarded one does not start, one without a guard starts without its devices. A pod that
has ended stays there until the kubelet's next allocation.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf.message import DecodeError

from nri_cdi.allocation import (
    allocation_id,
    guarded_key_name,
    is_of_another_version_under_any,
    own_key_name_under_any,
)

from . import api

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")

CHECKPOINT = "kubelet_internal_checkpoint"
"""The kubelet's file in its device-plugins directory."""


class UnreadableCheckpoint(Exception):
    """The checkpoint is not in the form that kubelets since 1.20 write; the text says what is wrong."""


@dataclass(frozen=True, slots=True)
class Carried:
    """A container with one allocation of ours."""

    pod_uid: str
    container: str
    resource: str
    devices: tuple[str, ...]
    """The device ids of the resource."""
    guarded: bool
    """Whether it does not start without us; otherwise it starts without its devices."""
    allocation: str
    """The id in its key; empty for a key of a format that only another release knows."""


def carried(checkpoint: str) -> list[Carried]:
    """The allocations of ours in the text of a checkpoint, whatever their annotation prefix, in the order of pod, container, resource.

    Raises UnreadableCheckpoint.
    """
    found = [one for one in _entries(checkpoint, _entry) if one]
    return sorted(found, key=lambda one: (one.pod_uid, one.container, one.resource))


def kinds_in(checkpoint: str) -> dict[str, str]:
    """The CDI kind of each resource of which the text of a checkpoint has an allocation of ours. Raises UnreadableCheckpoint."""
    return {resource: kind for resource, kind in _entries(checkpoint, _kind) if kind}


def devices_in(checkpoint: str) -> list[tuple[str, str, str]]:
    """All devices that the text of a checkpoint has, whoever gave them, each with its resource, and what tells the container from others.

    Raises UnreadableCheckpoint.
    """
    return [
        (resource, device, container)
        for resource, devices, container in _entries(checkpoint, _held_by)
        for device in devices
    ]


def _held_by(entry: dict[str, Any]) -> tuple[str, list[str], str]:
    return str(entry["ResourceName"]), _devices(entry), f"{entry['PodUID']}/{entry['ContainerName']}"


def _entries(checkpoint: str, read: Callable[[dict[str, Any]], _T]) -> list[_T]:
    """Each entry as it is read."""
    try:
        return [read(entry) for entry in json.loads(checkpoint)["Data"]["PodDeviceEntries"] or []]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, DecodeError) as error:
        raise UnreadableCheckpoint(
            f"not a device plugin checkpoint as it is known: {type(error).__name__}: {error}"
        ) from error


def _devices(entry: dict[str, Any]) -> list[str]:
    return [str(device) for ids in entry["DeviceIDs"].values() for device in ids]


def _answer(entry: dict[str, Any]) -> api.ContainerAllocateResponse:
    return api.ContainerAllocateResponse.FromString(base64.b64decode(entry["AllocResp"]))


def _kind(entry: dict[str, Any]) -> tuple[str, str]:
    values = [value for key, value in _answer(entry).annotations.items() if own_key_name_under_any(key)]
    return str(entry["ResourceName"]), values[0].partition("=")[0] if values else ""


def _entry(entry: dict[str, Any]) -> Carried | None:
    answer = _answer(entry)
    names = [name for key in answer.annotations if (name := own_key_name_under_any(key))]
    if not names and not any(map(is_of_another_version_under_any, answer.annotations)):
        return None
    return Carried(
        entry["PodUID"],
        entry["ContainerName"],
        entry["ResourceName"],
        devices=tuple(sorted(_devices(entry))),
        guarded=any(guarded_key_name(mount.container_path) for mount in answer.mounts),
        allocation=allocation_id(names[0]) if names else "",  # an answer of ours has one key
    )
