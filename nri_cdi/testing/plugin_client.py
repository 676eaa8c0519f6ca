"""A connection to a device plugin, as the kubelet has one: five calls, and Go's words for their errors."""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

import grpc

from nri_cdi.kubelet import api

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Iterable, Iterator

_METHODS: Final = "/v1beta1.DevicePlugin/"

_T = TypeVar("_T")


class PluginError(Exception):
    """A call of the plugin failed; the message is as Go's gRPC prints the error: `rpc error: code = X desc = Y`."""


class DialError(Exception):
    """The plugin could not be reached, or did not say what it wants to be called for; the message is the kubelet's."""


@dataclass(eq=False, slots=True)
class PluginClient:
    """The connection to one registered plugin. `stopped` is the kubelet's note that it does not use it any more."""

    resource: str
    channel: grpc.Channel
    options: api.DevicePluginOptions = field(default_factory=api.DevicePluginOptions)
    stopped: bool = False

    @classmethod
    def dial(cls, resource: str, path: pathlib.Path, timeout: float) -> PluginClient:
        """Connect to the plugin's socket and ask for its options, within `timeout` seconds. Raises DialError."""
        client = cls(resource, grpc.insecure_channel(address(path), [("grpc.use_local_subchannel_pool", 1)]))
        ask = client.channel.unary_unary(
            _METHODS + "GetDevicePluginOptions", api.Empty.SerializeToString, api.DevicePluginOptions.FromString
        )
        try:
            client.options = ask(api.Empty(), timeout=timeout, wait_for_ready=True)
        except grpc.RpcError as error:
            client.close()
            late = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            raise DialError("context deadline exceeded" if late else _said(error)) from None
        return client

    def close(self) -> None:
        """Close the connection: calls and the stream end at once."""
        self.channel.close()

    def lists(self) -> Iterator[list[api.Device]]:
        """Each list that ListAndWatch sends, until the stream ends, for whatever reason."""
        follow = self.channel.unary_stream(
            _METHODS + "ListAndWatch", api.Empty.SerializeToString, api.ListAndWatchResponse.FromString
        )
        try:
            for answer in follow(api.Empty()):
                yield list(answer.devices)
        except (grpc.RpcError, ValueError):  # ValueError: the connection was closed before the call
            return

    def preferred(self, available: Iterable[str], count: int, timeout: float) -> tuple[str, ...]:
        """GetPreferredAllocation for one container. Raises PluginError."""
        asked = api.ContainerPreferredAllocationRequest(available_deviceIDs=available, allocation_size=count)
        request = api.PreferredAllocationRequest(container_requests=[asked])
        call = self.channel.unary_unary(
            _METHODS + "GetPreferredAllocation",
            api.PreferredAllocationRequest.SerializeToString,
            api.PreferredAllocationResponse.FromString,
        )
        answer = _made(lambda: call(request, timeout=timeout))
        return tuple(device for one in answer.container_responses[:1] for device in one.deviceIDs)

    def allocate(self, ids: Iterable[str], timeout: float) -> api.ContainerAllocateResponse:
        """Allocate for one container. Raises PluginError, also for an answer without a container."""
        request = api.AllocateRequest(container_requests=[api.ContainerAllocateRequest(devices_ids=ids)])
        call = self.channel.unary_unary(
            _METHODS + "Allocate", api.AllocateRequest.SerializeToString, api.AllocateResponse.FromString
        )
        answer = _made(lambda: call(request, timeout=timeout))
        if not answer.container_responses:
            raise PluginError("no containers return in allocation response")
        response: api.ContainerAllocateResponse = answer.container_responses[0]
        return response

    def pre_start(self, ids: Iterable[str], timeout: float) -> None:
        """PreStartContainer. Raises PluginError."""
        request = api.PreStartContainerRequest(devices_ids=ids)
        call = self.channel.unary_unary(
            _METHODS + "PreStartContainer",
            api.PreStartContainerRequest.SerializeToString,
            api.PreStartContainerResponse.FromString,
        )
        _made(lambda: call(request, timeout=timeout))


def address(path: pathlib.Path) -> str:
    """The address of a unix socket as gRPC takes it."""
    return "unix://" + urllib.parse.quote(str(path.absolute()))


def _made(call: Callable[[], _T]) -> _T:
    """What `call` gives. Raises PluginError in the place of its gRPC error."""
    try:
        return call()
    except grpc.RpcError as error:
        raise PluginError(_said(error)) from None
    except ValueError:  # gRPC's for a channel that was closed
        raise PluginError("rpc error: code = Canceled desc = grpc: the client connection is closing") from None


def _said(error: grpc.RpcError) -> str:
    """An RPC error as Go's gRPC prints it."""
    code = "".join(word.capitalize() for word in error.code().name.split("_"))
    return f"rpc error: code = {code} desc = {error.details()}"
