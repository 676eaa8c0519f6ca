"""The composition root: builds the parts from the settings, owns their threads, starts and stops them in order.

What two parts that must not know each other have to tell is handed across here: the kubelet half gets a function that asks the NRI
half, over the local socket or, in one process, directly.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import logging
import os
import signal
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from nri_cdi import __version__
from nri_cdi.host import notify
from nri_cdi.host.ending import Ending
from nri_cdi.host.specs import Specs

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence

    from nri_cdi.account import Account
    from nri_cdi.inject import Stance
    from nri_cdi.kubelet.service import KubeletHalf
    from nri_cdi.nri import Plugin, Runner
    from nri_cdi.readiness import Slots
    from nri_cdi.settings import Settings
    from nri_cdi.telemetry.http import Pages

LOG = logging.getLogger("nri_cdi.agent")

FIRST_SNAPSHOT: Final = 3.0
"""Seconds to wait for the first look at the spec files before connecting anyway; until it is there our containers are refused."""

SLOT_POLL: Final = 0.1
"""Seconds between two tries to take a slot that another process holds."""

DEADLINE: Final = 0.24
"""Seconds for a decision, where the settings do not say: what waits behind it in the runtime, whosever it is, is not held up for longer."""

NICE: Final = -10
"""The NRI half goes before others where it may: a runtime that has just come back serves pods some ms after it serves plugins."""

READY_LIMIT: Final = 10.0
"""Seconds after which what is behind us in the order of a boot is let go though we are not ready. The service manager ends us after TimeoutStartSec of the units."""

READY_LIMIT_NRI: Final = 5.0
"""The same for the NRI half alone: the runtime may be down, or have no NRI, and no pod is Failed because we come later."""

ENDING: Final = 2.0
"""Seconds that a thread has to end, beside what it may take for what it is at. One that hangs on a dead file system never does."""

FATAL: Final = 70
"""The exit status after a bug of ours ended a thread."""


class NriHalf:
    """The NRI plugin with its slot, its readiness socket and its threads.

    `inherited` is the connection of a runtime that started us itself; `ended` is called when that one is lost.
    """

    def __init__(
        self,
        settings: Settings,
        specs: Specs,
        inherited: socket.socket | None = None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        from nri_cdi.host.root import HostRoot  # noqa: PLC0415  # only this half needs it, and memory counts
        from nri_cdi.inject import InjectPlugin  # noqa: PLC0415
        from nri_cdi.readiness import Slots  # noqa: PLC0415

        self._settings = settings
        self._slots = Slots(settings.run_dir, settings.nri_socket)
        self._plugin = InjectPlugin(specs.current, HostRoot(settings.host_root), _stance(settings))
        self._runner = _runner(settings, self._plugin, inherited)
        self._ended = ended
        self._stopping = threading.Event()
        self._waits = ""  # for a slot that another process holds
        self._thread = threading.Thread(target=_guarded, args=(self._run,), name="nri")

    def check(self, names: tuple[str, ...]) -> str | None:
        """Why a container with these devices would not be created now; None if it would."""
        if not self._runner.synchronized:
            return f"the NRI half of nri-cdi is not synchronized with the container runtime: {self._runner.standing}"
        return self._plugin.check(names)

    def account(self) -> Account:
        """How the half stands, and the allocations that it knows of."""
        from nri_cdi.account import Account  # noqa: PLC0415  # as above

        accounts, runner = self._plugin.accounts, self._runner
        return Account(__version__, runner.synchronized, runner.standing, accounts.entries(), accounts.forgotten)

    @property
    def thread(self) -> threading.Thread:
        """The thread that serves the runtime."""
        return self._thread

    def problem(self) -> str | None:
        """Why the runtime does not count on us now; None if it does."""
        return None if self._runner.synchronized else self._waits or self._runner.standing

    def start(self) -> None:
        """Take the slot, then serve."""
        self._thread.start()

    def stop(self) -> None:
        """End serving; what is being handled is answered first. Before `start` there is nothing to end."""
        self._stopping.set()
        self._runner.stop()
        _join(self._thread, max(self._settings.deadline, DEADLINE) + ENDING)

    def _run(self) -> None:
        from nri_cdi.host.slot import Slot, Taken  # noqa: PLC0415  # as above
        from nri_cdi.readiness import Server  # noqa: PLC0415

        index, name = self._settings.plugin_index, self._settings.plugin_name
        while not self._stopping.is_set():
            try:
                slot = Slot(self._slots.path(index, name, "lock"))
            except Taken as taken:
                if not self._waits:
                    self._waits = (
                        f"the slot {index}-{name} is held by process {taken.pid or 'unknown'}; waiting for its end"
                    )
                    LOG.warning("%s", self._waits)
                self._stopping.wait(SLOT_POLL)
                continue
            except OSError as error:
                fatal(f"cannot lock the slot {index}-{name}: {error}; --run-dir names a directory that can be written")
                return
            self._waits = ""
            server = Server(self._slots.path(index, name, "sock"), self.check, self.account)
            thread = threading.Thread(target=_guarded, args=(server.run,), name="readiness", daemon=True)
            thread.start()
            try:
                self._runner.run()
            finally:
                server.stop()
                slot.release()
            self._ended()
            return


def _runner(settings: Settings, plugin: Plugin, inherited: socket.socket | None) -> Runner:
    from nri_cdi.nri import Runner, Terms  # noqa: PLC0415  # as above
    from nri_cdi.nri.api import FailurePolicy  # noqa: PLC0415

    name, index = settings.plugin_name, settings.plugin_index
    terms: dict[str, Any] = {
        "fatal": fatal,
        "last_resort": _last_resort,
        "terms": Terms(settings.deadline, DEADLINE, FailurePolicy(fail_request=settings.strict_link)),
    }
    if inherited is None:
        return Runner(plugin, settings.nri_socket, name, index, **terms)
    from nri_cdi.nri.inherited import InheritedRunner  # noqa: PLC0415

    return InheritedRunner(plugin, inherited, name, index, **terms)


def _stance(settings: Settings) -> Stance:
    from nri_cdi.inject import Policy, Stance  # noqa: PLC0415  # as above
    from nri_cdi.nri import Terms  # noqa: PLC0415

    return Stance(
        prefix=settings.annotation_prefix,
        patience=Terms(settings.deadline, DEADLINE).patience,
        start_gate=settings.start_gate,
        strict_link=settings.strict_link,
        observe=settings.mode == "observe",
        foreign_keys=settings.foreign_keys == "inject",
        trust_pod=settings.trust_pod_annotations,
        policy=Policy(settings.allow_kind, settings.allow_namespace, settings.allow_hook, settings.allow_mount),
    )


def _last_resort(seconds: float | None) -> None:
    """End the process after so many seconds, by a signal of the kernel, which does not need the interpreter's lock; None: do not.

    A C extension that hangs with that lock held stops every thread of ours. The connection's end then lets the runtime go on with the other slot; without
    one the guard keeps the container from starting. What every thread was at is written to stderr (see `run`).
    """
    signal.setitimer(signal.ITIMER_REAL, seconds or 0)


def run(settings: Settings, *, nri: bool, kubelet: bool, inherited: socket.socket | None = None) -> int:
    """Run the agent with one or both halves until SIGTERM or SIGINT. Returns the exit status.

    `inherited` is the connection of a runtime that started us itself: then the agent also ends when that one is lost. Raises ValueError for
    resources or directories that cannot be, and OSError where the node does not let us have what we need; nothing is left running then.
    """
    ending, stop = Ending(), threading.Event()
    if nri:
        _go_first()
    faulthandler.register(
        signal.SIGALRM, file=2, chain=True
    )  # then the signal ends the process, as ever: see `_last_resort`
    specs = Specs(settings.cdi_dir)
    watching = threading.Thread(target=_guarded, args=(specs.run,), name="specs")
    threads: list[threading.Thread] = [watching]
    problems: dict[str, Callable[[], str | None]] = {}
    missing = _announced(specs, READY_LIMIT if kubelet else READY_LIMIT_NRI, stop)
    # They end in the reverse order, also when a later step fails: the halves before the specs, which may hang.
    with contextlib.ExitStack() as ends:
        ends.callback(ending.close)
        ends.callback(stop.set)
        pages = _pages(settings.http, threads, problems) if settings.http else None
        if pages is not None:
            ends.callback(pages.stop)
        ends.callback(_end_specs, specs, watching)
        specs.start()  # the first look runs in a child while we load
        nri_half = NriHalf(settings, specs, inherited, ending.begin) if nri else None
        if nri_half is not None:
            threads.append(nri_half.thread)
            problems["nri"] = missing["nri"] = nri_half.problem
            ends.callback(nri_half.stop)
        kubelet_half = _kubelet_half(settings, nri_half) if kubelet else None
        if kubelet_half is not None:
            problems["kubelet"] = kubelet_half.problem
            missing["kubelet"] = lambda: (
                None if kubelet_half.poised else "the sockets of its resources are not in place"
            )
            ends.callback(kubelet_half.stop)
            specs.subscribe(kubelet_half.update)
            kubelet_half.start()
        watching.start()
        if specs.current(FIRST_SNAPSHOT) is None:
            LOG.warning("the spec files are not read yet after %g s; going on", FIRST_SNAPSHOT)
        gc.freeze()  # what is loaded stays: no collection needs to look at it
        if nri_half is not None:
            nri_half.start()
        if pages is not None:
            threading.Thread(target=_guarded, args=(pages.run,), name="http", daemon=True).start()
        if (number := ending.wait()) is not None:
            LOG.info("%s: stopping", number.name)
    return 0


def _announced(specs: Specs, limit: float, stop: threading.Event) -> dict[str, Callable[[], str | None]]:
    """Have a service manager that waits for us told when nothing is missing any more: neither the specs, nor what is added to the result before they are read."""
    read = threading.Event()
    specs.subscribe(lambda _snapshot: read.set())
    missing: dict[str, Callable[[], str | None]] = {
        "specs": lambda: None if read.is_set() else "the CDI spec files of this node have not been read yet"
    }
    if address := notify.taken(os.environ):

        def first() -> str | None:
            said = ((part, problem()) for part, problem in tuple(missing.items()))
            return next((f"{part}: {why}" for part, why in said if why is not None), None)

        work = partial(notify.announce, address, first, limit, stop)
        threading.Thread(target=_guarded, args=(work,), name="notify", daemon=True).start()
    return missing


def _end_specs(specs: Specs, watching: threading.Thread) -> None:
    """End the thread of the specs, and the process that reads for them."""
    specs.stop()
    if watching.ident is None:
        specs.run()  # ends at once, and the process with it
    else:
        _join(watching, ENDING)


def _join(thread: threading.Thread, limit: float) -> None:
    """Wait so many seconds for the end of a thread, if it was started; then leave it behind."""
    if thread.ident is not None:
        thread.join(limit)
        if thread.is_alive():
            LOG.warning("the thread %s hangs: it is left behind", thread.name)


def _go_first() -> None:
    """Raise the priority of this process, before there are other threads. It takes CAP_SYS_NICE; without it nothing changes."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
    except PermissionError:
        LOG.debug("not permitted to raise the priority of the process")


def _pages(
    address: str, threads: Sequence[threading.Thread], problems: Mapping[str, Callable[[], str | None]]
) -> Pages:
    """The pages for probes and scrapes about these threads and parts, as they are when they are asked for. Raises OSError when the address cannot be had."""
    from nri_cdi.telemetry.health import pages  # noqa: PLC0415  # only where they are asked for
    from nri_cdi.telemetry.http import Pages  # noqa: PLC0415

    try:
        return Pages(address, pages(lambda: threads, problems))
    except OSError as error:
        raise OSError(f"cannot listen on {address}: {error.strerror or error}; --http names another address") from error


def _kubelet_half(settings: Settings, nri_half: NriHalf | None) -> KubeletHalf:
    """The kubelet half. Raises ValueError for resources or directories that cannot be."""
    from nri_cdi.host.numa import Sysfs  # noqa: PLC0415  # grpc is loaded only where it is needed
    from nri_cdi.host.root import HostRoot  # noqa: PLC0415
    from nri_cdi.kubelet.directories import Directories  # noqa: PLC0415
    from nri_cdi.kubelet.identity import Rules  # noqa: PLC0415
    from nri_cdi.kubelet.inventory import Patience  # noqa: PLC0415
    from nri_cdi.kubelet.keeper import Node  # noqa: PLC0415
    from nri_cdi.kubelet.names import resource_names  # noqa: PLC0415
    from nri_cdi.kubelet.plugin import CannotServe  # noqa: PLC0415
    from nri_cdi.kubelet.preferred import Preference  # noqa: PLC0415
    from nri_cdi.kubelet.service import Config, KubeletHalf  # noqa: PLC0415
    from nri_cdi.readiness import Slots  # noqa: PLC0415

    directories = Directories.of(settings.kubelet_dir)
    config = Config(
        kinds=resource_names(settings.resource),
        directories=directories,
        prefix=settings.annotation_prefix,
        guard=settings.guard and settings.mode == "enforce",
        pre_start=settings.pre_start and settings.mode == "enforce",
        registry=settings.registration == "plugins-registry",
        preference=Preference(settings.preferred),
        rules=Rules(settings.include, settings.exclude, settings.prefer, settings.shared_node),
        patience=Patience(settings.settle, settings.settle_specs),
        unhealthy_after=settings.unhealthy_after,
    )
    slots = Slots(settings.run_dir, settings.nri_socket)
    node = Node(HostRoot(settings.host_root), Sysfs(settings.host_root), settings.host_root)
    ready = nri_half.check if nri_half is not None else lambda names: _ask(slots, names)
    try:
        half = KubeletHalf(config, node, ready=ready, fatal=fatal)
    except CannotServe as error:  # a name or a directory too long for a socket
        raise ValueError(str(error)) from error
    if directories != Directories.below(settings.kubelet_dir):
        text = "%s has no device-plugins/: the kubelet's is taken to be %s, as with any --root-dir"
        LOG.info(text, settings.kubelet_dir, directories.device_plugins)
    return half


def _ask(slots: Slots, names: Sequence[str]) -> str | None:
    """What `readiness.ask` says; where no NRI half was ever seen and the question is how it is, for our own log, also what may be the matter."""
    from nri_cdi.readiness import ask  # noqa: PLC0415  # as above

    problem = ask(slots, names)
    if problem is None or names or slots.sockets():
        return problem
    return f"{problem}; both halves must have the same --run-dir and --nri-socket (ours is {slots.nri_socket})"


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
