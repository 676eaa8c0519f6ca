"""The composition root: builds the parts from the settings, owns their threads, starts and stops them in order.

What two parts that must not know each other have to tell is handed across here: the kubelet half gets a function that asks the NRI
half, over the local socket or, in one process, directly.
"""

from __future__ import annotations

import gc
import logging
import os
import pathlib
import signal
import threading
from typing import TYPE_CHECKING, Final

from nri_cdi.host.specs import Specs

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from nri_cdi.cdi import Snapshot
    from nri_cdi.kubelet.service import KubeletHalf
    from nri_cdi.settings import Settings

LOG = logging.getLogger("nri_cdi.agent")

FIRST_SNAPSHOT: Final = 3.0
"""Seconds to wait for the first look at the spec files before connecting anyway; until it is there our containers are refused."""

SLOT_POLL: Final = 0.1
"""Seconds between two tries to take a slot that another process holds."""

FATAL: Final = 70
"""The exit status after a bug of ours ended a thread."""


class EnvironmentProblem(Exception):
    """Something around us is not as it must be (a directory that cannot be written); the text says what to do."""


class NriHalf:
    """The NRI plugin with its slot, its readiness socket and its threads."""

    def __init__(self, settings: Settings, specs: Specs) -> None:
        from nri_cdi.host.root import HostRoot  # noqa: PLC0415  # only this half needs it, and memory counts
        from nri_cdi.inject import InjectPlugin  # noqa: PLC0415
        from nri_cdi.nri import Runner  # noqa: PLC0415
        from nri_cdi.readiness import Slots  # noqa: PLC0415

        self._settings = settings
        self._slots = Slots(settings.run_dir, settings.nri_socket)
        self._plugin = InjectPlugin(specs.current, HostRoot(settings.host_root), settings.annotation_prefix)
        self._runner = Runner(
            self._plugin, settings.nri_socket, settings.plugin_name, settings.plugin_index, fatal=fatal
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=_guarded, args=(self._run,), name="nri")

    def check(self, names: tuple[str, ...]) -> str | None:
        """Why a container with these devices would not be created now; None if it would."""
        if not self._runner.synchronized:
            return f"the NRI half of nri-cdi is not synchronized with the container runtime: {self._runner.standing}"
        return self._plugin.check(names)

    def start(self) -> None:
        """Take the slot, then serve."""
        self._thread.start()

    def stop(self) -> None:
        """End serving; what is being handled is answered first."""
        self._stopping.set()
        self._runner.stop()
        self._thread.join()

    def _run(self) -> None:
        from nri_cdi.host.slot import Slot, Taken  # noqa: PLC0415  # as above
        from nri_cdi.readiness import Server  # noqa: PLC0415

        index, name = self._settings.plugin_index, self._settings.plugin_name
        said = False
        while not self._stopping.is_set():
            try:
                slot = Slot(self._slots.path(index, name, "lock"))
            except Taken as taken:
                if not said:
                    LOG.warning("the slot %s-%s is held by process %s; waiting for its end", index, name, taken.pid)
                    said = True
                self._stopping.wait(SLOT_POLL)
                continue
            except OSError as error:
                fatal(f"cannot lock the slot {index}-{name}: {error}; --run-dir names a directory that can be written")
                return
            server = Server(self._slots.path(index, name, "sock"), self.check)
            thread = threading.Thread(target=_guarded, args=(server.run,), name="readiness", daemon=True)
            thread.start()
            try:
                self._runner.run()
            finally:
                server.stop()
                slot.release()
            return


def run(settings: Settings, *, nri: bool, kubelet: bool) -> int:
    """Run the agent with one or both halves until SIGTERM or SIGINT. Returns the exit status."""
    stop = threading.Event()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        LOG.info("%s: stopping", signal.Signals(number).name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    specs = Specs(settings.cdi_dir)
    specs.start()  # the first look runs in a child while we load
    nri_half = NriHalf(settings, specs) if nri else None
    kubelet_half = _kubelet_half(settings, nri_half) if kubelet else None
    if kubelet_half is not None:
        specs.subscribe(_Fed(kubelet_half))
    watching = threading.Thread(target=_guarded, args=(specs.run,), name="specs")
    watching.start()
    if specs.current(FIRST_SNAPSHOT) is None:
        LOG.warning("the spec files are not read yet after %g s; going on", FIRST_SNAPSHOT)
    gc.freeze()  # what is loaded stays: no collection needs to look at it
    if nri_half is not None:
        nri_half.start()
    stop.wait()
    specs.stop()
    watching.join()
    if kubelet_half is not None:
        kubelet_half.stop()
    if nri_half is not None:
        nri_half.stop()
    return 0


class _Fed:
    """The kubelet half as a listener: the first snapshot starts it, so that it never says "no devices" for want of a look."""

    def __init__(self, half: KubeletHalf) -> None:
        self._half, self._started = half, False

    def __call__(self, snapshot: Snapshot) -> None:
        self._half.update(snapshot)
        if not self._started:
            self._started = True
            self._half.start()


def _kubelet_half(settings: Settings, nri_half: NriHalf | None) -> KubeletHalf:
    from nri_cdi.kubelet.service import KubeletHalf  # noqa: PLC0415  # grpc is loaded only where it is needed
    from nri_cdi.readiness import Slots, ask  # noqa: PLC0415

    slots = Slots(settings.run_dir, settings.nri_socket)
    return KubeletHalf(
        settings.resource,
        pathlib.Path(settings.kubelet_dir, "device-plugins"),
        prefix=settings.annotation_prefix,
        guard=settings.guard,
        ready=nri_half.check if nri_half is not None else lambda names: ask(slots, names),
        fatal=fatal,
    )


def fatal(reason: str) -> None:
    """End the process at once, with the reason in the last log line: there is no half-dead agent."""
    LOG.critical("%s", reason)
    os._exit(FATAL)


def _guarded(work: Callable[[], None]) -> None:
    """Run a thread's work; a bug that ends it ends the process."""
    try:
        work()
    except Exception as error:  # whatever it is
        LOG.debug("a thread ended", exc_info=True)
        fatal(f"the thread {threading.current_thread().name} ended: {type(error).__name__}: {error}")
