"""Whether the node already offers a resource through another plugin: then it is not registered, for the kubelet would take ours in its place.

Asked is the kubelet, over its pod resources API. What it offers is ours if any of the devices is one that we have registered, in this process
or an earlier one (`memory`): an instance of ours that is being replaced, or one that has just been killed. One that registers the resource after us
takes our place all the same, and the kubelet tells nobody: so it is asked again now and then (`Count`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import grpc

from nri_cdi.kubelet import podresources_api as api
from nri_cdi.kubelet.order import natural
from nri_cdi.kubelet.plugin import grpc_address
from nri_cdi.kubelet.sockets import connect_problem, socket_id
from nri_cdi.kubelet.standing import Counted

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Collection, Mapping

    from nri_cdi.kubelet.standing import SocketId

TIMEOUT: Final = 0.3
"""Seconds for the kubelet's answer; without one we register: a kubelet that has just started waits for no one."""

RETURN: Final = 60.0
"""Seconds that the other plugin has to register again with a kubelet that is new, before the resource counts as free."""


ASK: Final = 10.0
"""Seconds between two questions whose devices the kubelet counts, while they are ours: its answer has every device of the node."""

ASK_AGAIN: Final = 1.0
"""The same while they are not."""


def offered(path: pathlib.Path, resource: str) -> frozenset[str] | None:
    """The healthy devices of a resource that the kubelet with the pod resources socket `path` offers; None if it cannot be asked."""
    if connect_problem(path):
        return None
    with grpc.insecure_channel(grpc_address(path), [("grpc.use_local_subchannel_pool", 1)]) as channel:
        call = channel.unary_unary(
            "/v1.PodResourcesLister/GetAllocatableResources",
            api.AllocatableResourcesRequest.SerializeToString,
            api.AllocatableResourcesResponse.FromString,
        )
        try:
            answer: api.AllocatableResourcesResponse = call(api.AllocatableResourcesRequest(), timeout=TIMEOUT)
        except grpc.RpcError:
            return None
    return frozenset(device for one in answer.devices if one.resource_name == resource for device in one.device_ids)


class Elsewhere:
    """Says why `resource` is not to be registered now, or nothing. `ours` are the ids that we have registered before.

    A kubelet that is new (its socket `path` is another) has forgotten the other plugin for a while, which is no leave.
    """

    def __init__(self, path: pathlib.Path, resource: str, ours: Collection[str]) -> None:
        self._path, self._resource, self._ours = path, resource, frozenset(ours)
        self._theirs: frozenset[str] = frozenset()
        self._kubelet: SocketId | None = None
        self._forgotten_until = float("-inf")

    def __call__(self) -> str:
        """The reason, empty if there is none."""
        kubelet = socket_id(self._path)
        if kubelet != self._kubelet:
            self._kubelet = kubelet
            if self._theirs:
                self._forgotten_until = time.monotonic() + RETURN
        found = offered(self._path, self._resource)
        if found and not found & self._ours:
            self._theirs = found
        elif found is not None and time.monotonic() >= self._forgotten_until:
            self._theirs = frozenset()
        if not self._theirs:
            return ""
        some = sorted(self._theirs, key=natural)
        return (
            f"this node offers {self._resource} already through another device plugin (devices {', '.join(some[:3])}"
            f"{' and others' if len(some) > 3 else ''}); remove that plugin, or give ours another name: --resource KIND=RESOURCE"
        )


class Count:
    """Says whose devices of `resource` the kubelet counts; what is not as it was must be seen twice. `listed`: our ids, and whether each is healthy."""

    def __init__(self, path: pathlib.Path, resource: str, listed: Callable[[], Mapping[str, bool]]) -> None:
        self._path, self._resource, self._listed = path, resource, listed
        self._said = self._seen = Counted.OURS
        self._next = float("-inf")

    def __call__(self) -> Counted:
        """Ask, if it is time to."""
        now = time.monotonic()
        if now >= self._next:
            before, self._seen = self._seen, self._judged(offered(self._path, self._resource))
            if self._seen is before:
                self._said = self._seen
            self._next = now + (ASK if self._seen is self._said is Counted.OURS else ASK_AGAIN)
        return self._said

    def _judged(self, found: frozenset[str] | None) -> Counted:
        ours = self._listed()
        if found is None or not ours.keys().isdisjoint(found):
            return Counted.OURS
        if found:
            return Counted.THEIRS
        return Counted.NOBODYS if any(ours.values()) else Counted.OURS
