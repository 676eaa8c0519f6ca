"""The kubelet's checkpoint of allocations, as kubelets since 1.20 write it: for tests of what reads it."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nri_cdi.kubelet import api


def entry(
    pod_uid: str, container: str, resource: str, devices: Sequence[str], answer: api.ContainerAllocateResponse
) -> dict[str, Any]:
    """One allocation: what a plugin answered for these device ids, of which the first has no NUMA node and the others are of node 0."""
    return {
        "PodUID": pod_uid,
        "ContainerName": container,
        "ResourceName": resource,
        "DeviceIDs": {"-1": list(devices[:1]), "0": list(devices[1:])},
        "AllocResp": base64.b64encode(answer.SerializeToString()).decode(),
    }


def checkpoint(*entries: dict[str, Any]) -> str:
    """The text of a checkpoint with these allocations."""
    return json.dumps({"Data": {"PodDeviceEntries": list(entries) or None, "RegisteredDevices": {}}, "Checksum": 1})
