"""Registration over kubelet.sock: what `standing` decides, done."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

import grpc

from nri_cdi.kubelet import api, standing
from nri_cdi.kubelet.loop import POLL, Loop
from nri_cdi.kubelet.plugin import VERSION, grpc_address, options
from nri_cdi.kubelet.sockets import connect_problem
from nri_cdi.kubelet.standing import Counted, Own, Seen, Standing, Step

if TYPE_CHECKING:
    import pathlib
    import threading
    from collections.abc import Callable

    from nri_cdi.kubelet.loop import Objection
    from nri_cdi.kubelet.plugin import DevicePlugin

REGISTER_TIMEOUT: Final = 15.0
"""Seconds for Register. The kubelet gives itself 10 to dial us, and says so then; less would lose its words."""

UNSERVED: Final = 10
"""So many attempts at a kubelet.sock that nobody serves are half a minute, and an error. Less is no more than a restart or a boot: a kubelet leaves its
socket behind when it ends, and makes a new one when it starts.
"""

_log = logging.getLogger("nri_cdi.kubelet")


class Registration(Loop):
    """Serves a plugin and keeps it registered at `kubelet_socket`, from `start` to `stop`, also in the middle of a Register call."""

    def __init__(
        self,
        plugin: DevicePlugin,
        kubelet_socket: pathlib.Path,
        wake: threading.Event,
        fatal: Callable[[str], None],
        elsewhere: Callable[[], Objection | None] = lambda: None,
        counted: Callable[[], Counted] = lambda: Counted.OURS,
    ) -> None:
        super().__init__(plugin, kubelet_socket, wake, fatal, elsewhere, counted)
        self._call: grpc.Future[api.Empty] | None = None
        self._standing = Standing()
        self._ever = False

    @property
    def registered(self) -> bool:
        """Whether the last Register succeeded."""
        return self._standing.registered

    def _turn(self) -> float:
        """Look once and act once; the seconds until the next look."""
        seen = Seen(self._seen_kubelet(), self._plugin.own(), self._plugin.streams, self._seen_counted())
        now = time.monotonic()
        decision = standing.decide(self._standing, seen, now)
        if decision.step is Step.WAIT:
            if decision.why:
                self._say(logging.WARNING, self._filled(decision.why))
            return POLL if decision.until is None else min(POLL, decision.until - now)
        # The path is not taken from an instance that serves while we would not register, nor before it when a new kubelet has removed its socket.
        asks = decision.step is Step.REGISTER or seen.own is Own.TAKEN or self._kept_out
        if asks and not self._ever and (pause := self._objected()) is not None:
            return pause
        if decision.step is Step.BIND:
            served = self._serve(decision.why)
            self._standing = (
                standing.bound(self._standing) if served else standing.failed(self._standing, time.monotonic())
            )
        else:
            self._register(seen, decision.why)
        return 0.0

    def _register(self, seen: Seen, why: str) -> None:
        unserved = connect_problem(self._kubelet_socket)
        if unserved is None and self._plugin.own() is not Own.OURS:
            # It is a kubelet that started since we looked, and removed all sockets before it served: it would try ours for ten seconds, and reject its pods
            # after one.
            return
        problem = f"nobody serves there ({unserved})" if unserved else self._call_register()
        if self._stopping:
            return
        if problem is None:
            self._ever = True
            self._standing = standing.registered(self._standing, seen, time.monotonic())
            self.on_registered()
            if self._standing.quick < standing.QUICK_FREE:
                self._say(logging.INFO, f"registered with the kubelet ({why})")
            else:
                self._say(logging.WARNING, standing.QUARREL)
        else:
            self._standing = standing.refused(self._standing, seen, time.monotonic())
            passing = unserved is not None and self._standing.failures < UNSERVED
            if unserved and not passing:
                problem = f"nobody has served there for half a minute ({unserved}), is the kubelet running?"
            self._say(
                logging.WARNING if passing else logging.ERROR,
                f"not registered with the kubelet at {self._kubelet_socket}: {problem}; trying again",
            )

    def _call_register(self) -> str | None:
        """Call Register; None, or what went wrong."""
        request = api.RegisterRequest(
            version=VERSION, endpoint=self._plugin.path.name, resource_name=self._plugin.name, options=options()
        )
        # A pool of its own: gRPC would let a new channel share the back-off of an older one to the same path.
        with grpc.insecure_channel(
            grpc_address(self._kubelet_socket), [("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            register = channel.unary_unary(
                "/v1beta1.Registration/Register", api.RegisterRequest.SerializeToString, api.Empty.FromString
            )
            self._call = register.future(request, timeout=REGISTER_TIMEOUT)
            if self._stopping:
                self._interrupt()
            try:
                self._call.result()
            except grpc.FutureCancelledError:
                return "the call was cancelled"
            except grpc.RpcError as error:
                return f"{error.details()} ({error.code().name})"
            finally:
                self._call = None
        return None

    def _interrupt(self) -> None:
        """Cancel the Register call that is under way, if one is; called from two threads, and harmless twice."""
        call = self._call
        if call is not None:
            call.cancel()

    def _filled(self, why: str) -> str:
        return why.format(socket=self._kubelet_socket, path=self._plugin.path, directory=self._kubelet_socket.parent)
