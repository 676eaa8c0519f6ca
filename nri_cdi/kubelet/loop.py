"""The thread that looks at how a plugin stands with the kubelet, acts once, and looks again; what it looks at and does is its subclass's."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from nri_cdi.kubelet.plugin import CannotServe
from nri_cdi.kubelet.sockets import socket_id
from nri_cdi.kubelet.standing import Counted

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable

    from nri_cdi.kubelet.plugin import DevicePlugin
    from nri_cdi.kubelet.standing import SocketId

POLL: Final = 0.1
"""Seconds between two looks: two lstat calls each, and a new kubelet is seen in time (see `standing`)."""

_log = logging.getLogger("nri_cdi.kubelet")


@dataclass(frozen=True, slots=True)
class Objection:
    """A resource is not to be registered now: the seconds until it is to be asked again, and the reason (empty while it is not known yet)."""

    pause: float
    why: str = ""


class Loop(ABC):
    """Serves a plugin and keeps it known to the kubelet, from `start` to `stop`.

    `kubelet_socket` is the kubelet's own, which tells one kubelet from the next. `wake` ends a pause; the plugin sets it when a stream ends. `fatal` is told if the thread ends before `stop`.

    `elsewhere` objects to a registration while another plugin offers the resource. It is asked until the resource is ours: when a registration has
    succeeded, or, where the kubelet comes to us, when our socket is there. From then on `counted` says whose devices the kubelet counts.
    """

    def __init__(
        self,
        plugin: DevicePlugin,
        kubelet_socket: pathlib.Path,
        wake: threading.Event,
        fatal: Callable[[str], None],
        elsewhere: Callable[[], Objection | None] = lambda: None,
        counted: Callable[[], Counted] = lambda: Counted.OURS,
    ) -> None:
        self._plugin = plugin
        self._kubelet_socket = kubelet_socket
        self._wake = wake
        self._fatal = fatal
        self._elsewhere = elsewhere
        self._counted = counted
        self._met: SocketId | None = None
        self._since = float("-inf")
        self._displaced = False
        self._kept_out = False
        """Whether `elsewhere` objected when it was last asked."""
        self._unserved = False
        """Whether our socket could not be bound when that was last tried."""
        self._poised = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"registration {plugin.name}", daemon=True)
        self._said = ""
        self.on_registered: Callable[[], None] = lambda: None
        """Called after the kubelet took the plugin."""

    @property
    @abstractmethod
    def registered(self) -> bool:
        """Whether the kubelet took the plugin the last time it was asked to."""

    @property
    def since(self) -> float:
        """When (`time.monotonic`) the present kubelet was first met; minus infinity before."""
        return self._since

    @property
    def poised(self) -> bool:
        """Whether it has done all that it can do before there is a kubelet, and waits: a socket that the kubelet looks for is in place then."""
        return self._poised

    @property
    def in_place(self) -> bool:
        """Whether the kubelet took the plugin, follows its list of devices, and has not put another plugin in its place."""
        return self.registered and not self._displaced and self._plugin.streams.open > 0

    @property
    def said(self) -> str:
        """How it stands with the kubelet, in the words of the newest log line."""
        return f"{self._plugin.name}: {self._said or 'not tried yet'}"

    @abstractmethod
    def _turn(self) -> float:
        """Look once and act once; the seconds until the next look. Raises OSError when something cannot be seen now."""

    def start(self) -> None:
        """Start the thread, once."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; the plugin goes on serving."""
        self._stopping = True
        self._wake.set()
        self._interrupt()
        if self._thread.ident is not None:
            self._thread.join()

    def _seen_kubelet(self) -> SocketId | None:
        """The kubelet's socket as it is now; who made it is noted as the present kubelet."""
        found = socket_id(self._kubelet_socket)
        if found is not None and found != self._met:
            self._met, self._since = found, time.monotonic()
        return found

    def _seen_counted(self) -> Counted:
        """Whose devices the kubelet counts. While they are not ours it gets no list on a stream that it has: it would count the devices in it,
        but call the other plugin for them. A registration anew comes first, and begins a stream of its own.
        """
        followed = self.registered and self._plugin.streams.open > 0
        counted = self._counted() if followed else Counted.OURS
        self._displaced = counted is not Counted.OURS
        self._plugin.hold(held=self._displaced)
        return counted

    def _objected(self) -> float | None:
        """The seconds until `elsewhere` is to be asked again, if it objects now."""
        objection = self._elsewhere()
        self._kept_out = objection is not None
        if objection is None:
            return None
        if objection.why:
            self._say(logging.WARNING, f"not registered: {objection.why}")
        return objection.pause

    def _serve(self, why: str | None) -> bool:
        """Bind our socket, and say so for this reason (empty: at our start; None: it is done again and again); whether it could be bound."""
        try:
            self._plugin.bind()
        except CannotServe as error:
            self._say(logging.ERROR, f"{error}; trying again")
            self._unserved = True
            return False
        self._unserved = False
        if why is not None:
            self._say(logging.INFO, f"serving on {self._plugin.path}" + (f" ({why})" if why else ""))
        return True

    def _interrupt(self) -> None:  # noqa: B027  # a subclass without such calls needs none
        """End a call that the thread waits for; `stop` wants it."""

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._wake.clear()
                try:
                    pause = self._turn()
                except OSError as error:  # no file descriptor is left, or a file system is away: it passes
                    self._say(
                        logging.ERROR, f"how it stands with the kubelet cannot be seen now: {error}; looking again"
                    )
                    pause = POLL
                else:
                    self._poised |= pause > 0 and not self._unserved
                self._wake.wait(pause)
        except Exception as error:  # noqa: BLE001  # the end of this thread ends the process, whatever it is
            _log.exception("%s: the registration thread ended", self._plugin.name)
            self._fatal(f"the registration of {self._plugin.name} ended: {type(error).__name__}: {error}")

    def _say(self, level: int, text: str) -> None:
        """Log a state once, until another one is logged."""
        if text != self._said:
            self._said = text
            _log.log(level, "%s: %s", self._plugin.name, text)
