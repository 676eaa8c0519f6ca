"""What the kubelet's pod resources API says: which container of which pod has which devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import grpc
from google.protobuf.message import Message

from lab.kubelet import POD_RESOURCES
from nri_cdi.kubelet import podresources_api as api

if TYPE_CHECKING:
    from pathlib import Path

_SERVICE = "/v1.PodResourcesLister"
_TIMEOUT = 10
_Answer = TypeVar("_Answer", bound=Message)


def _call(root: Path, method: str, request: Message, answer: type[_Answer]) -> _Answer:
    with grpc.insecure_channel(f"unix://{root}{POD_RESOURCES}") as channel:
        call: grpc.UnaryUnaryMultiCallable[Message, _Answer] = channel.unary_unary(
            f"{_SERVICE}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        result: _Answer = call(request, timeout=_TIMEOUT, wait_for_ready=True)
    return result


def devices_in_use(root: Path) -> dict[tuple[str, str, str], list[str]]:
    """The sorted device ids by (namespace, pod, container), from the kubelet whose file system is at `root`.

    Raises grpc.RpcError when the kubelet is not there.
    """
    answer = _call(root, "List", api.ListPodResourcesRequest(), api.ListPodResourcesResponse)
    return {
        (pod.namespace, pod.name, container.name): sorted(
            device for row in container.devices for device in row.device_ids
        )
        for pod in answer.pod_resources
        for container in pod.containers
        if container.devices
    }


def healthy_devices(root: Path, resource: str) -> list[str]:
    """The sorted ids of the devices of a resource that this kubelet would allocate now, or has allocated.

    Unlike the node's status, this is the kubelet's own state at this moment. Raises grpc.RpcError when the kubelet is not there.
    """
    answer = _call(root, "GetAllocatableResources", api.AllocatableResourcesRequest(), api.AllocatableResourcesResponse)
    return sorted(device for row in answer.devices if row.resource_name == resource for device in row.device_ids)


def numa_nodes(root: Path, resource: str) -> dict[str, list[int]]:
    """The NUMA nodes of each device of a resource, as this kubelet was told of them. Raises grpc.RpcError when the kubelet is not there."""
    answer = _call(root, "GetAllocatableResources", api.AllocatableResourcesRequest(), api.AllocatableResourcesResponse)
    return {
        device: [node.ID for node in row.topology.nodes]
        for row in answer.devices
        if row.resource_name == resource
        for device in row.device_ids
    }
