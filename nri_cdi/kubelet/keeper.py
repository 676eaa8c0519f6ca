"""The thread that keeps the inventory true: it looks at the host whenever something may have changed there, and hands on what came out.

The watch only says when and where to look: a look at every node, every RESCAN seconds, is the truth. Of thousands of nodes a part is looked at
at a time, so that no change has to wait for it. Nor does a new snapshot have to: only nodes of what is new in it are looked at then.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import math
import os
import select
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from nri_cdi.host.node_watch import NodeWatch
from nri_cdi.host.uevents import Uevents
from nri_cdi.kubelet import link
from nri_cdi.kubelet.catalog import Catalog
from nri_cdi.kubelet.condition import look, problem
from nri_cdi.kubelet.in_use import Used
from nri_cdi.kubelet.inventory import Inventory, World, advance, due, undecided
from nri_cdi.kubelet.told import Told, tell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from nri_cdi.cdi import HostNode
    from nri_cdi.host.numa import Place
    from nri_cdi.kubelet.candidates import Specs
    from nri_cdi.kubelet.condition import Host, Look
    from nri_cdi.kubelet.identity import Rules
    from nri_cdi.kubelet.inventory import Patience

RESCAN: Final = 10.0
"""Seconds between two looks at a node. A network file system, or a link that leads out of a watched directory, gives no sign."""

PART: Final = 1000
"""So many nodes are looked at without a pause: that takes some 15 ms."""

ASK: Final = 1.0
"""Seconds between two questions whether the NRI half is there."""

_log = logging.getLogger("nri_cdi.kubelet")


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """A stretch in which much is made that stays: the garbage collector does not look at it, neither now, which would take as long as the making, nor later.

    None of it is in a cycle, so what is replaced is freed all the same.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
    gc.collect()
    gc.freeze()


class Places(Protocol):
    """What is asked of `nri_cdi.host.numa.Sysfs`."""

    def place(self, node: HostNode) -> Place:
        """Where the device of this node sits."""


@dataclass(frozen=True, slots=True)
class Node:
    """The machine as the keeper looks at it. `root` is where its file system is seen."""

    host: Host
    places: Places
    root: str = "/"


@dataclass(frozen=True, slots=True)
class Terms:
    """What the configuration says: the resource of each kind, the rules of names, how long devices settle, and how many seconds of the NRI
    half's absence make them unhealthy (0: none do).
    """

    kinds: Mapping[str, str]
    rules: Rules
    patience: Patience
    unhealthy_after: float


@dataclass(frozen=True, slots=True)
class Meeting:
    """Whom the keeper talks to.

    `asked` is how the NRI half is: None, or what is wrong. `in_use` gives the names under which containers have devices. `starts` gives the times (`time.monotonic`) at which a kubelet was first met.
    `deliver` gets what the kubelet is to be told, after each look, from the keeper's thread. `fatal` gets the reason why a thread ended.
    """

    asked: Callable[[], str | None]
    in_use: Callable[[], Used]
    starts: Callable[[], Iterable[float]]
    deliver: Callable[[Told], None]
    fatal: Callable[[str], None]


class Keeper:
    """Keeps the inventory of `node` under `terms`, beginning with `remembered`, from `start` to `stop`."""

    def __init__(self, node: Node, terms: Terms, remembered: Inventory, meeting: Meeting) -> None:
        self._node, self._terms, self._meeting = node, terms, meeting
        self._inventory = remembered
        self._snapshot: Specs | None = None
        self._taken: Specs | None = None
        self._catalog: Catalog | None = None
        self._told: Told | None = None
        self._looks: dict[str, Look] = {}
        self._nodes: dict[str, HostNode] = {}
        self._places: dict[str, Place] = {}
        self._in_use = Used()
        self._ask_next = float("-inf")
        self._link = link.Link()
        self._began = time.monotonic()
        self._watch: NodeWatch | None = None
        self._unwatched = False
        self._anywhere = False
        self._watch_again = float("-inf")
        self._round: tuple[str, ...] = ()
        self._next_part = float("inf")
        self._uevents: Uevents | None = None
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._waking = threading.Lock()
        self._stopping = threading.Event()
        self._threads = (
            threading.Thread(target=self._guarded, args=(self._run,), name="inventory", daemon=True),
            threading.Thread(target=self._guarded, args=(self._ask,), name="link", daemon=True),
        )

    def update(self, snapshot: Specs) -> None:
        """Take a new snapshot; what comes of it is delivered soon. From any thread, and never waits."""
        self._snapshot = snapshot
        self.wake()

    @property
    def informed(self) -> bool:
        """Whether there has been a snapshot, and a look at the host with it."""
        return self._told is not None

    def start(self) -> None:
        """Start the threads, once."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the threads; one that hangs on a dead file system is left behind after a second. A second call does nothing."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        with self._waking:  # whoever wakes us from now on does nothing: the number may be another file's then
            self._ring()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(1.0)
        if not any(thread.is_alive() for thread in self._threads):
            os.close(self._wake)

    def wake(self) -> None:
        """Look again now."""
        with self._waking:
            if not self._stopping.is_set():
                self._ring()

    def _ring(self) -> None:
        with contextlib.suppress(BlockingIOError):  # the counter is full: it will wake all the same
            os.eventfd_write(self._wake, 1)

    def hold(self, names: Iterable[str]) -> str | None:
        """Why containers with these devices are not to start now, by a fresh look at their nodes; None if nothing is known against it."""
        catalog = self._catalog
        if catalog is None:
            return "the CDI spec files of this node have not been read yet"
        for name in names:
            one = catalog.found.get(name)
            if one is None:
                known = self._inventory.known.get(name)
                if known is not None and known.health.reason:
                    return f"{name}: {known.health.reason}"
                continue
            paths = Catalog.paths_of(one)
            if said := problem(one, {path: look(self._node.host, path) for path in paths}):
                return f"{name}: {said}"
        return None

    # -- the threads

    def _run(self) -> None:
        try:
            self._uevents = Uevents()
        except OSError as error:
            _log.info("the kernel does not tell of devices here (%s); their nodes are watched", error)
        paths: frozenset[str] | None = None
        while not self._stopping.is_set():
            if self._snapshot is self._taken:
                pause = self._turn(paths)
            else:
                with _uncollected():
                    pause = self._turn(paths)
            paths = self._wait(pause)
        for source in (self._watch, self._uevents):
            if source is not None:
                source.close()

    def _ask(self) -> None:
        while not self._stopping.is_set():
            before = self._link
            self._link = link.answered(before, self._meeting.asked(), time.monotonic())
            if (line := link.change(before, self._link)) is not None:
                _log.log(logging.WARNING if line.alarming else logging.INFO, "%s", line.text)
            if before.down_since != self._link.down_since:
                self.wake()
            self._stopping.wait(ASK)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  # the end of this thread ends the process, whatever it is
            _log.debug("a thread ended", exc_info=True)
            self._meeting.fatal(f"the thread {threading.current_thread().name} ended: {type(error).__name__}: {error}")

    def _turn(self, paths: frozenset[str] | None) -> float:
        """Look once at these paths (None: at all), deliver what came out; the seconds until the next look."""
        snapshot = self._snapshot
        if snapshot is None:
            return RESCAN
        catalog = self._catalog
        if catalog is None or snapshot is not self._taken:
            catalog, new = self._take(snapshot)
            paths = None if paths is None else paths | new
            self._ask_next = float("-inf")
        elif self._watch is not None or time.monotonic() >= self._watch_again:
            self._watch_nodes((), ())
        world = self._world(catalog.paths if paths is None else paths & catalog.paths.keys())
        now = time.monotonic()
        terms = self._terms
        self._inventory = advance(self._inventory, catalog, world, terms.rules, tuple(terms.kinds), terms.patience, now)
        self._told = tell(self._inventory, world, terms.kinds, self._told)
        self._meeting.deliver(self._told)
        if paths is None:
            self._round, self._next_part = (), now + self._pause(catalog)
        moments = (due(self._inventory, now), link.due(self._link, terms.unhealthy_after, self._all_starts()))
        return min([RESCAN, *(moment - now for moment in moments if moment is not None and moment > now)])

    def _pause(self, catalog: Catalog) -> float:
        """Seconds between two parts of the look at every node."""
        return RESCAN / max(1, math.ceil(len(catalog.paths) / PART))

    def _take(self, snapshot: Specs) -> tuple[Catalog, frozenset[str]]:
        """The catalog of a new snapshot, and at which nodes to look for it."""
        before, self._taken = self._catalog, snapshot
        catalog = self._catalog = Catalog.of(snapshot, self._terms.kinds, before)
        known = before.paths.keys() if before is not None else frozenset()
        watched = self._watch is not None
        gone = known - catalog.paths.keys()
        self._watch_nodes(catalog.paths.keys() - known, gone)
        for path in gone:
            self._looks.pop(path, None)
        self._forget_nodes(catalog)
        if before is None or not watched or self._watch is None:
            self._round, self._next_part = (), time.monotonic() + self._pause(catalog)
            return catalog, frozenset(catalog.paths)
        differing = catalog.differing(before) & catalog.found.keys()
        return catalog, frozenset(path for name in differing for path in Catalog.paths_of(catalog.found[name]))

    def _forget_nodes(self, catalog: Catalog) -> None:
        """Forget the nodes of devices that are known no more: names may be new at each plugging in."""
        known = self._inventory.known.items()
        absent = (one.candidate for name, one in known if name not in catalog.found)
        kept = {path for one in absent for path in Catalog.paths_of(one)}
        for path in self._nodes.keys() - catalog.paths.keys() - kept:
            del self._nodes[path]
            self._places.pop(path, None)

    def _world(self, paths: Iterable[str]) -> World:
        """A look at these nodes, and what is new since the looks before."""
        seen = {path: look(self._node.host, path) for path in paths}
        changed = frozenset(path for path, one in seen.items() if self._looks.get(path) != one)
        self._looks |= {path: seen[path] for path in changed}
        renumbered: dict[str, HostNode | None] = {}
        for path in changed:
            node, before = self._looks[path].node, self._nodes.get(path)
            if node is not None and before != node:
                self._nodes[path] = node
                self._places[path] = self._node.places.place(node)
                renumbered[path] = before
        now = time.monotonic()
        away = link.reason(self._link, self._terms.unhealthy_after, self._all_starts(), now)
        # Whoever has a device whose node has other numbers now has the old ones: it is to be known who that is.
        if now >= self._ask_next or any(renumbered.values()):
            self._in_use, self._ask_next = self._meeting.in_use(), now + RESCAN
            renewed = self._in_use.renewed
        else:
            renewed = frozenset()
        used = self._in_use
        return World(
            self._looks,
            self._nodes,
            self._places,
            changed,
            renumbered,
            away,
            used.names,
            renewed,
            used.elsewhere,
        )

    def _all_starts(self) -> tuple[float, ...]:
        return (self._began, *self._meeting.starts())

    def _watch_nodes(self, new: Iterable[str], gone: Iterable[str]) -> None:
        """Watch the directories of these nodes as well, and no longer those of the others; all of them as they are now."""
        try:
            if self._watch is not None:
                self._watch.change(new, gone)
            elif self._catalog is not None:
                self._watch = NodeWatch(self._catalog.paths, self._node.root)
                if self._unwatched:
                    self._unwatched = False
                    _log.info("the kernel watches the device nodes again")
        except OSError as error:
            if self._watch is not None:
                self._watch.close()
                self._watch = None
            self._watch_again = time.monotonic() + RESCAN
            if not self._unwatched:
                self._unwatched = True
                _log.warning(
                    "the kernel does not watch the device nodes (%s); they are looked at every %g s", error, RESCAN
                )

    def _wait(self, seconds: float) -> frozenset[str] | None:
        """Until something may have changed, or so many seconds; at which paths to look then, None: at all."""
        if self._anywhere:
            self._anywhere = False
            return None
        watch, uevents = self._watch, self._uevents
        poll = select.poll()
        for source in (self._wake, watch, uevents):
            if source is not None:
                poll.register(source, select.POLLIN)
        until = time.monotonic() + seconds
        while (left := min(until, self._next_part) - time.monotonic()) > 0:
            ready = {fd for fd, _ in poll.poll(left * 1000 + 1)}
            anywhere = uevents is not None and uevents.fileno() in ready and uevents.take()
            touched: frozenset[str] | None = frozenset()
            if watch is not None and watch.fileno() in ready and watch.take():
                touched = watch.touched()
            if touched:
                self._anywhere = anywhere  # next: what is known to be touched does not wait for a look at everything
                return touched | self._part()
            if anywhere or touched is None:
                return None
            if self._wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._wake)
                break
        return self._part() | self._due()

    def _part(self) -> frozenset[str]:
        """The nodes whose turn it is in the look at every node, if it is time for some: whatever else happens, each is looked at every RESCAN seconds."""
        now, catalog = time.monotonic(), self._catalog
        if catalog is None or now < self._next_part:
            return frozenset()
        self._next_part = now + self._pause(catalog)
        self._round = self._round or tuple(catalog.paths)
        part, self._round = self._round[:PART], self._round[PART:]
        return frozenset(part)

    def _due(self) -> frozenset[str]:
        """The nodes of the devices that a decision may be due about, whatever is seen elsewhere."""
        return undecided(self._inventory, self._catalog) if self._catalog is not None else frozenset()
