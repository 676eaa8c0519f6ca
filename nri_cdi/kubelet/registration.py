"""Keeps one plugin registered with the kubelet: the thread that looks, does what `standing` decides, and looks again."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Final

import grpc

from nri_cdi.kubelet import api, standing
from nri_cdi.kubelet.plugin import CannotServe, DevicePlugin, connect_problem, grpc_address, options
from nri_cdi.kubelet.standing import Seen, SocketId, Standing, Step

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable

VERSION: Final = "v1beta1"
"""The device plugin API's version, as Register names it."""

POLL: Final = 0.1
"""Seconds between two looks at the two socket files: two lstat calls each, and a new kubelet is seen in time (see `standing`)."""

REGISTER_TIMEOUT: Final = 15.0
"""Seconds for Register. The kubelet gives itself 10 to dial us, and says so then; less would lose its words."""

_log = logging.getLogger("nri_cdi.kubelet")


class Registration:
    """Serves a plugin and keeps it registered, from `start` to `stop`. `fatal` is told if the thread ends in between."""

    def __init__(
        self, plugin: DevicePlugin, kubelet_socket: pathlib.Path, wake: threading.Event, fatal: Callable[[str], None]
    ) -> None:
        self._plugin = plugin
        self._kubelet_socket = kubelet_socket
        self._wake = wake
        self._fatal = fatal
        self._stopping = False
        self._call: grpc.Future[api.Empty] | None = None
        self._thread = threading.Thread(target=self._run, name=f"registration {plugin.name}", daemon=True)
        self._standing = Standing()
        self._said = ""

    @property
    def standing(self) -> Standing:
        """How the plugin stands with the kubelet."""
        return self._standing

    def start(self) -> None:
        """Start the thread, once."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, also in the middle of a Register call; the plugin goes on serving."""
        self._stopping = True
        self._wake.set()
        self._cancel()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._wake.clear()
                self._wake.wait(self._turn())
        except Exception as error:  # noqa: BLE001  # the end of this thread ends the process, whatever it is
            _log.exception("%s: the registration thread ended", self._plugin.name)
            self._fatal(f"the registration of {self._plugin.name} ended: {type(error).__name__}: {error}")

    def _turn(self) -> float:
        """Look once and act once; the seconds until the next look."""
        seen = Seen(socket_id(self._kubelet_socket), self._plugin.own(), self._plugin.streams)
        now = time.monotonic()
        decision = standing.decide(self._standing, seen, now)
        if decision.step is Step.WAIT:
            if decision.why:
                self._say(logging.WARNING, self._filled(decision.why))
            return POLL if decision.until is None else min(POLL, decision.until - now)
        if decision.step is Step.BIND:
            self._bind(decision.why)
        else:
            self._register(seen, decision.why)
        return 0.0

    def _bind(self, why: str) -> None:
        try:
            self._plugin.bind()
        except CannotServe as error:
            self._standing = standing.failed(self._standing, time.monotonic())
            self._say(logging.ERROR, f"{error}; trying again")
            return
        self._standing = standing.bound(self._standing)
        self._say(logging.INFO, f"serving on {self._plugin.path}" + (f" ({why})" if why else ""))

    def _register(self, seen: Seen, why: str) -> None:
        problem = self._call_register()
        if self._stopping:
            return
        if problem is None:
            self._standing = standing.registered(self._standing, seen, time.monotonic())
            self._say(logging.INFO, f"registered with the kubelet ({why})")
        else:
            self._standing = standing.refused(self._standing, seen, time.monotonic())
            self._say(
                logging.ERROR, f"not registered with the kubelet at {self._kubelet_socket}: {problem}; trying again"
            )

    def _call_register(self) -> str | None:
        """Call Register; None, or what went wrong."""
        if problem := connect_problem(self._kubelet_socket):
            return f"nobody serves there ({problem})"
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
                self._cancel()
            try:
                self._call.result()
            except grpc.FutureCancelledError:
                return "the call was cancelled"
            except grpc.RpcError as error:
                return f"{error.details()} ({error.code().name})"
            finally:
                self._call = None
        return None

    def _cancel(self) -> None:
        """Cancel the Register call that is under way, if one is; called from two threads, and harmless twice."""
        call = self._call
        if call is not None:
            call.cancel()

    def _filled(self, why: str) -> str:
        return why.format(socket=self._kubelet_socket, path=self._plugin.path, directory=self._kubelet_socket.parent)

    def _say(self, level: int, text: str) -> None:
        """Log a state once, until another one is logged."""
        if text != self._said:
            self._said = text
            _log.log(level, "%s: %s", self._plugin.name, text)


def socket_id(path: pathlib.Path) -> SocketId | None:
    """What tells the socket file at `path` from one that was there before; None if there is none."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        found = path.lstat()
        return found.st_dev, found.st_ino, found.st_ctime_ns
    return None
