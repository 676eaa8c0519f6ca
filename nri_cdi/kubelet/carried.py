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

from nri_cdi.allocation import allocation_id, guarded_key_name, is_of_another_version, own_key_name

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


def carried(checkpoint: str, prefix: str) -> list[Carried]:
    """The allocations of ours in the text of a checkpoint, in the order of pod, container, resource. Raises UnreadableCheckpoint.

    `prefix` is the annotation prefix that they were made under.
    """
    found = [one for one in _entries(checkpoint, lambda entry: _entry(entry, prefix)) if one]
    return sorted(found, key=lambda one: (one.pod_uid, one.container, one.resource))


def devices_in(checkpoint: str) -> list[tuple[str, str]]:
    """All devices that the text of a checkpoint has, whoever gave them, each with its resource. Raises UnreadableCheckpoint."""
    return [
        (resource, device)
        for resource, devices in _entries(checkpoint, lambda entry: (str(entry["ResourceName"]), _devices(entry)))
        for device in devices
    ]


def _entries(checkpoint: str, read: Callable[[dict[str, Any]], _T]) -> list[_T]:
    """Each entry as it is read."""
    try:
        return [read(entry) for entry in json.loads(checkpoint)["Data"]["PodDeviceEntries"] or []]
    except (ValueError, KeyError, TypeError, AttributeError, DecodeError) as error:
        raise UnreadableCheckpoint(
            f"not a device plugin checkpoint as it is known: {type(error).__name__}: {error}"
        ) from error


def _devices(entry: dict[str, Any]) -> list[str]:
    return [str(device) for ids in entry["DeviceIDs"].values() for device in ids]


def _entry(entry: dict[str, Any], prefix: str) -> Carried | None:
    answer = api.ContainerAllocateResponse.FromString(base64.b64decode(entry["AllocResp"]))
    names = [name for key in answer.annotations if (name := own_key_name(key, prefix))]
    if not names and not any(is_of_another_version(key, prefix) for key in answer.annotations):
        return None
    return Carried(
        entry["PodUID"],
        entry["ContainerName"],
        entry["ResourceName"],
        devices=tuple(sorted(_devices(entry))),
        guarded=any(guarded_key_name(mount.container_path) for mount in answer.mounts),
        allocation=allocation_id(names[0]) if names else "",  # an answer of ours has one key
    )
