"""What the kubelet says over its pod resources API: which devices the node offers, and which containers have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import grpc

from nri_cdi.kubelet import podresources_api as api
from nri_cdi.kubelet.plugin import grpc_address
from nri_cdi.kubelet.sockets import connect_problem

if TYPE_CHECKING:
    import pathlib

TIMEOUT: Final = 0.3
"""Seconds for the kubelet's answer. Who asks does without one then: a kubelet that has just started waits for no registration, nor a look for this."""

_OPTIONS: Final = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
"""The answer has all devices of the node, and gRPC's own limit is 4 MiB."""


class NoAnswer(Exception):  # not an error of this program
    """The kubelet did not say what it offers or what containers have; the message says where and why. Without a `code` nobody serves there."""

    def __init__(self, why: str, code: grpc.StatusCode | None = None) -> None:
        super().__init__(why)
        self.code = code


def _ask(path: pathlib.Path, method: str, request: Any) -> Any:  # noqa: ANN401  # the method's own messages
    """The answer of the kubelet with the pod resources socket `path`. Raises NoAnswer."""
    try:
        problem = connect_problem(path)
    except OSError as error:  # a path that no socket can have
        raise NoAnswer(f"{path}: {error}") from error
    if problem:
        raise NoAnswer(f"{path}: nobody serves there ({problem})")
    _, response = api.SERVICES["v1.PodResourcesLister"][method]
    with grpc.insecure_channel(grpc_address(path), _OPTIONS) as channel:
        call = channel.unary_unary(
            f"/v1.PodResourcesLister/{method}", type(request).SerializeToString, response.FromString
        )
        try:
            return call(request, timeout=TIMEOUT)
        except grpc.RpcError as error:
            raise NoAnswer(f"{path}: {error.details()} ({error.code().name})", error.code()) from error


def offered(path: pathlib.Path, resource: str) -> frozenset[str]:
    """The healthy devices of a resource that the kubelet with the pod resources socket `path` offers. Raises NoAnswer."""
    answer = _ask(path, "GetAllocatableResources", api.AllocatableResourcesRequest())
    return frozenset(device for one in answer.devices if one.resource_name == resource for device in one.device_ids)


def allocated(path: pathlib.Path) -> list[tuple[str, str, str]]:
    """The devices that containers of active pods have, each with its resource, and what tells the container from others. Raises NoAnswer.

    Kubelets before 1.34 count a pod that has ended until it is deleted, or until their next allocation.
    """
    answer = _ask(path, "List", api.ListPodResourcesRequest())
    return [
        (devices.resource_name, device, f"{pod.namespace}/{pod.name}/{container.name}")
        for pod in answer.pod_resources
        for container in pod.containers
        for devices in container.devices
        for device in devices.device_ids
    ]
