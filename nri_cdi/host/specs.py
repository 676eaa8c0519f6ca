"""The CDI specs of the node, always current: a snapshot that is replaced whole when something changed in the spec directories.

Parsing happens in a child process that hands back plain data (see `reader`): parsing YAML holds the interpreter for hundreds of milliseconds where
there are many devices, and the process that serves containers must not stand still. Only what changed is read again. A file that was good and is
being written keeps its last good content until it has settled.

On the request path nothing is read: one non-blocking look at the watch says whether the snapshot is current. Where the kernel does not watch for us,
the directories and files are asked for their status instead, and compared with what they were when they were read.
"""

from __future__ import annotations

import logging
import select
import threading
import time
from typing import TYPE_CHECKING, Final

from nri_cdi.cdi import EMPTY, Snapshot
from nri_cdi.cdi.look import NOTHING_KNOWN, merge

from .inotify import Watch
from .reader import Reader, ScanFailed

if TYPE_CHECKING:
    from collections.abc import Callable

LOG = logging.getLogger("nri_cdi.specs")

RETRY: Final = 1.0
"""Seconds until a scan that failed as a whole is tried again."""

RESCAN: Final = 1.0
"""Seconds between two comparisons of the directories with what they were, where the kernel does not watch for us."""

COMPARE: Final = 10.0
"""The same where it does: it tells nothing of a network file system, or of another one that is mounted over a directory."""

COMPARISON: Final = 5.0
"""Seconds after which a comparison that has not come back is said to hang."""

UNSETTLED: Final = 0.25
"""Seconds until a file that was being written is looked at again."""

IDLE: Final = 600.0
"""Seconds without a change after which the reading process, which takes 10 MiB, is ended. Starting it again takes a tenth of a second, while a container may wait."""


class Specs:
    """The current snapshot of `directories`, and who is told of a new one.

    `start` begins with a first scan in the background; `run` is the thread that keeps the snapshot current until `stop`.
    """

    def __init__(self, directories: tuple[str, ...]) -> None:
        self._directories = directories
        self._snapshot = EMPTY
        self._memory = NOTHING_KNOWN
        self._known = threading.Condition()
        self._dirty = True  # something happened that the snapshot does not hold yet
        # looks are numbered: the latest that was begun, that was done, and, where nobody watches for us, that a request waits for
        self._begun = self._done = self._wanted = 0
        self._woken = threading.Event()  # somebody waits for one
        self._stopping = threading.Event()
        self._listeners: list[Callable[[Snapshot], None]] = []
        self._said: dict[str, str] = {}
        self._reader = Reader(directories)
        self._watch: Watch | None = None
        self._lost: Watch | None = None  # one that the kernel let us have and that does not see all
        self._watch_refused = False
        self._failure = ""  # of the latest scan or comparison, as it was logged
        self._comparing: threading.Thread | None = None
        self._compared_at = 0.0  # when that began
        self._stale = False  # what one has found

    def start(self) -> None:
        """Begin the first scan: it runs while the caller goes on loading."""
        self._make_watch()
        self._begun += 1
        self._reader.ask(NOTHING_KNOWN)

    def subscribe(self, listener: Callable[[Snapshot], None]) -> None:
        """Have `listener` called with each new snapshot, from the thread of `run`. To be called before `run`."""
        self._listeners.append(listener)

    @property
    def snapshot(self) -> Snapshot:
        """The newest snapshot, current or not."""
        return self._snapshot

    def current(self, patience: float) -> Snapshot | None:
        """The snapshot, if it holds all that happened before this call; waits up to `patience` seconds for it, else None."""
        need = self._begun + 1
        if self._watch is not None and not self._behind(need):
            return self._snapshot
        if self._watch is None and not (self._dirty or self._memory.unsettled or self._memory.is_stale()):
            return self._snapshot
        self._wanted = max(self._wanted, need)
        self._woken.set()
        deadline = time.monotonic() + patience
        with self._known:
            while self._behind(need):
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._known.wait(min(left, 0.01))  # short: an event that nothing follows wakes nobody
            return self._snapshot

    def run(self) -> None:
        """Keep the snapshot current until `stop`."""
        try:
            while not self._stopping.is_set():
                if self._dirty:
                    self._refresh()
                self._wait()
        finally:
            self._reader.end()

    def stop(self) -> None:
        """End `run`, within two tenths of a second, or two seconds where the reading process cannot be ended. To be called once."""
        self._stopping.set()
        self._woken.set()
        self._reader.stop()

    # -- inside

    def _behind(self, need: int) -> bool:
        """Whether something happened that the snapshot does not hold.

        Only a look that began after the request tells, where nobody watches for us, and where a file was found open for writing: the kernel tells that it was
        closed a moment before it is. Its number is `need`. The watch is asked before `_dirty`: `run` says that it is dirty before it takes an event, so an
        event is seen here or there.
        """
        watch = self._watch
        if (watch is None or self._memory.unsettled) and self._done < need:
            return True
        return watch is not None and (watch.pending() or self._dirty)

    def _wait(self) -> None:
        """Until something relevant happened, or it is time to look whether something did."""
        now = time.monotonic()
        compare = now + (UNSETTLED if self._memory.unsettled else COMPARE)
        idle = now + IDLE
        if self._watch is None:
            self._woken.wait(UNSETTLED if self._memory.unsettled else RESCAN)
            self._woken.clear()
            is_new = self._make_watch()
            self._dirty = is_new or self._wanted > self._done or self._memory.unsettled or self._found_stale()
            if not self._dirty:
                self._compare()
            return
        poll = select.poll()
        poll.register(self._watch.fd, select.POLLIN)
        while not self._stopping.is_set() and not self._dirty:
            if self._memory.unsettled and self._wanted > self._done:
                self._dirty = True
                return
            if poll.poll(10 if self._memory.unsettled else 100):  # a request that waits for a look does not ring
                self._dirty = True  # before the events are taken, so that no request sees neither
                if self._watch.take():
                    return
                with self._known:
                    self._dirty = False
                    self._known.notify_all()
            now = time.monotonic()
            if now >= compare:
                compare = now + COMPARE
                self._dirty = self._memory.unsettled
                self._compare()
            if self._found_stale():
                self._dirty = True
            if now >= idle:
                self._reader.end()

    def _compare(self) -> None:
        """Begin to compare what was looked at with what it was, unless that is being done.

        A thread of its own does it: where a file system is dead it hangs, and nothing can end it.
        """
        if self._comparing is not None and self._comparing.is_alive():
            if time.monotonic() - self._compared_at >= COMPARISON:
                self._say_failed(TimeoutError(f"no status after {COMPARISON:g} s; {self._reader.suspicion}"))
            return
        memory, self._failure, self._compared_at = self._memory, "", time.monotonic()

        def compare() -> None:
            if memory.is_stale():
                self._stale = True
                self._woken.set()

        self._comparing = threading.Thread(target=compare, name="specs comparison", daemon=True)
        self._comparing.start()

    def _found_stale(self) -> bool:
        """Whether a comparison has found a difference since this was last asked."""
        found, self._stale = self._stale, False
        return found

    def _make_watch(self) -> bool:
        """Have the kernel watch for us, if it will; whether that is new."""
        if self._watch is not None:
            return False
        watch = self._lost
        try:
            if watch is None:
                watch = self._lost = Watch(self._directories)
            else:
                watch.renew()
            watch.follow(self._memory.linked)
        except OSError as error:
            self._say_unwatched(error)
            return False
        self._watch, self._lost = watch, None
        return True

    def _lose_watch(self, error: OSError) -> None:
        # It is kept open: a request may look at it just now.
        self._watch, self._lost = None, self._watch
        self._say_unwatched(error)

    def _refresh(self) -> None:
        """Read the directories until nothing happens meanwhile; then the snapshot is current."""
        while not self._stopping.is_set():
            try:
                # a first scan that `start` began is older than what has happened since: that is for the scan behind it
                if not self._reader.is_asked:
                    self._renew()
                snapshot = self._scan()
            except (ScanFailed, OSError) as error:
                self._say_failed(error)
                self._stopping.wait(RETRY)
                continue
            self._failure = ""
            new = snapshot is not self._snapshot
            with self._known:
                self._snapshot = snapshot
                self._done = self._begun
                self._dirty = self._happened_meanwhile()
                self._known.notify_all()
            if new:
                self._report(snapshot)
                for listener in self._listeners:
                    listener(snapshot)
            self._reader.renew()
            if not self._dirty:
                return

    def _renew(self) -> None:
        """Take what has happened so far, which the scan that follows sees, and watch what there is now."""
        if self._watch is None:
            return
        try:
            self._watch.take()
            self._watch.renew()
        except OSError as error:
            self._lose_watch(error)

    def _say_failed(self, error: Exception) -> None:
        """Log the failure of a scan once, as long as it is the same."""
        if str(error) != self._failure and not self._stopping.is_set():
            self._failure = str(error)
            LOG.error("the spec directories cannot be read, the devices known so far are kept: %s", error)

    def _say_unwatched(self, error: OSError) -> None:
        if not self._watch_refused:
            self._watch_refused = True
            LOG.warning(
                "the kernel does not watch the spec directories (%s); they are compared with what they were at each request and every %g s",
                error,
                RESCAN,
            )

    def _happened_meanwhile(self) -> bool:
        """Whether anything happened since the scan began that it may not have seen."""
        watch = self._watch
        if watch is None:
            return self._wanted > self._done
        try:
            new = watch.follow(self._memory.linked)
        except OSError as error:
            self._lose_watch(error)
            return True
        # What happened to a file with other names before it was watched shows in its identity.
        return (watch.pending() and watch.take()) or (new and self._memory.is_stale())

    def _scan(self) -> Snapshot:
        if not self._reader.is_asked:
            self._begun += 1
            self._reader.ask(self._memory)
        before = self._memory
        scan, self._memory = merge(self._reader.answer(), before)
        return self._snapshot if self._memory.says_the_same(before) else Snapshot.build(scan, self._snapshot)

    def _report(self, snapshot: Snapshot) -> None:
        """Log each fault once, and its end."""
        now = {path: "\n".join(map(str, errors)) for path, errors in snapshot.errors.items()}
        now |= {
            name: f"{name} is defined by {' and '.join(paths)}: it resolves to nothing"
            for name, paths in snapshot.conflicts.items()
        }
        for path, text in now.items():
            if self._said.get(path) != text:
                for line in text.splitlines():
                    LOG.warning("%s", line)
        for path in self._said.keys() - now.keys():
            LOG.info("%s: in order again, or gone", path)
        if self._said != now or not self._said:
            LOG.info("%d devices in %d spec files", len(snapshot.devices), len(snapshot.specs))
        self._said = now
