"""Registration by a socket in the kubelet's plugins_registry directory (pluginregistration v1): what `registry_standing` decides, done."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

import grpc

from nri_cdi.kubelet import registry_api as api
from nri_cdi.kubelet import registry_standing as standing
from nri_cdi.kubelet.loop import POLL, Loop
from nri_cdi.kubelet.plugin import VERSION
from nri_cdi.kubelet.registry_standing import RegistryStanding
from nri_cdi.kubelet.standing import QUARREL, QUICK_FREE, Counted, Step

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable

    from nri_cdi.kubelet.loop import Objection
    from nri_cdi.kubelet.plugin import DevicePlugin

TYPE: Final = "DevicePlugin"


class Desk:
    """The service that a kubelet asks who we are, served beside the plugin on the same socket.

    `on_status` gets what the kubelet says of the registration: whether it took us, and else why not.
    """

    def __init__(self, resource: str) -> None:
        self._resource = resource
        self.on_status: Callable[[bool, str], None] = lambda _registered, _error: None

    @property
    def handler(self) -> grpc.GenericRpcHandler:
        """For a gRPC server."""
        return grpc.method_handlers_generic_handler(
            "pluginregistration.Registration",
            {
                "GetInfo": grpc.unary_unary_rpc_method_handler(
                    self._info, api.InfoRequest.FromString, api.PluginInfo.SerializeToString
                ),
                "NotifyRegistrationStatus": grpc.unary_unary_rpc_method_handler(
                    self._status, api.RegistrationStatus.FromString, api.RegistrationStatusResponse.SerializeToString
                ),
            },
        )

    def _info(self, _request: api.InfoRequest, _context: grpc.ServicerContext) -> api.PluginInfo:
        return api.PluginInfo(type=TYPE, name=self._resource, supported_versions=[VERSION])

    def _status(
        self, request: api.RegistrationStatus, _context: grpc.ServicerContext
    ) -> api.RegistrationStatusResponse:
        self.on_status(request.plugin_registered, request.error)
        return api.RegistrationStatusResponse()


class RegistryRegistration(Loop):
    """Serves a plugin on its socket in plugins_registry and keeps it known there."""

    def __init__(
        self,
        plugin: DevicePlugin,
        kubelet_socket: pathlib.Path,
        desk: Desk,
        wake: threading.Event,
        fatal: Callable[[str], None],
        elsewhere: Callable[[], Objection | None] = lambda: None,
        counted: Callable[[], Counted] = lambda: Counted.OURS,
    ) -> None:
        super().__init__(plugin, kubelet_socket, wake, fatal, elsewhere, counted)
        self._standing = RegistryStanding()
        self._lock = threading.Lock()
        """The standing changes in two threads: this one, and gRPC's when the kubelet notifies."""
        desk.on_status = self._notified

    @property
    def registered(self) -> bool:
        """Whether the kubelet said that it took the plugin."""
        return self._standing.registered

    def _turn(self) -> float:
        self._seen_kubelet()
        own, streams = self._plugin.own(), self._plugin.streams
        now = time.monotonic()
        decision = standing.decide(self._standing, own, streams, now, self._seen_counted())
        path = self._plugin.path
        if decision.step is Step.WAIT:
            if decision.why:
                self._say(logging.WARNING, decision.why.format(path=path, directory=path.parent))
            return POLL if decision.until is None else min(POLL, decision.until - now)
        if not self._standing.bound and (pause := self._objected()) is not None:
            return pause
        with self._lock:
            self._standing = standing.binding(self._standing)
        again = self._standing.failures or self._standing.quick >= QUICK_FREE
        served = self._serve(None if again else decision.why)
        with self._lock:
            now = time.monotonic()
            self._standing = (
                standing.bound(self._standing, streams, now) if served else standing.failed(self._standing, now)
            )
        return 0.0

    def _notified(self, registered: bool, error: str) -> None:  # noqa: FBT001  # the message's field
        with self._lock:
            self._standing = standing.notified(self._standing, registered=registered, now=time.monotonic())
        if registered:
            if self._standing.quick < QUICK_FREE:
                self._say(logging.INFO, "registered with the kubelet (it found our socket)")
            else:
                self._say(logging.WARNING, QUARREL)
            self.on_registered()
        else:
            self._say(logging.ERROR, f"the kubelet did not take the plugin: {error}; trying again")
        self._wake.set()
