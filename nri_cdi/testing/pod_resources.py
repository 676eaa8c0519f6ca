"""A stand-in for the kubelet's pod resources service: which devices the node offers, and which a container has."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc

from nri_cdi.kubelet import podresources_api as api
from nri_cdi.testing.plugin_client import address

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Mapping

    from nri_cdi.testing.kubelet import FakeKubelet


class PodResources:
    """Serves `path` from its construction to `stop`. What the node offers is set in `devices`, or is what `kubelet` has; what a container has is set in `in_use`, and
    the name of its pod in `pod`.

    The first `refusals` questions are refused as the kubelet refuses those that are more than a hundred in a second.
    """

    def __init__(self, path: pathlib.Path) -> None:
        path.parent.mkdir(exist_ok=True)
        self._path = path
        self.devices: dict[str, list[str]] = {}
        self.in_use: dict[str, list[str]] = {}
        self.pod = "pod"
        self.kubelet: FakeKubelet | None = None
        self.refusals = 0
        self._server = self._served()

    def restart(self) -> None:
        """Serve on a new socket, as a new kubelet does."""
        self.stop()
        self._path.unlink(missing_ok=True)
        self._server = self._served()

    def _served(self) -> grpc.Server:
        server = grpc.server(ThreadPoolExecutor(2))
        handler = grpc.unary_unary_rpc_method_handler(
            self._allocatable,
            api.AllocatableResourcesRequest.FromString,
            api.AllocatableResourcesResponse.SerializeToString,
        )
        listing = grpc.unary_unary_rpc_method_handler(
            self._list, api.ListPodResourcesRequest.FromString, api.ListPodResourcesResponse.SerializeToString
        )
        service = grpc.method_handlers_generic_handler(
            "v1.PodResourcesLister", {"GetAllocatableResources": handler, "List": listing}
        )
        server.add_generic_rpc_handlers((service,))
        server.add_insecure_port(address(self._path))
        server.start()
        return server

    def stop(self) -> None:
        """Serve no longer."""
        self._server.stop(0).wait()

    def _allocatable(
        self, _request: api.AllocatableResourcesRequest, context: grpc.ServicerContext
    ) -> api.AllocatableResourcesResponse:
        if self.refusals:
            self.refusals -= 1
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "rejected by rate limit")
        if self.kubelet is not None:
            self.devices = {
                resource: [device for device, healthy in self.kubelet.devices(resource).items() if healthy]
                for resource in self.kubelet.resources
            }
        return api.AllocatableResourcesResponse(devices=_one_by_one(self.devices))

    def _list(
        self, _request: api.ListPodResourcesRequest, _context: grpc.ServicerContext
    ) -> api.ListPodResourcesResponse:
        container = api.ContainerResources(name="main", devices=_one_by_one(self.in_use))
        pod = api.PodResources(name=self.pod, namespace="default", containers=[container])
        return api.ListPodResourcesResponse(pod_resources=[pod])


def _one_by_one(resources: Mapping[str, list[str]]) -> list[api.ContainerDevices]:
    return [
        api.ContainerDevices(resource_name=resource, device_ids=[device])
        for resource, devices in resources.items()
        for device in devices
    ]
