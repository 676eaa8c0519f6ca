"""The CDI specs of the node, always current: a snapshot that is replaced whole when something changed in the spec directories.

Parsing happens in a short-lived child process that hands back plain data: parsing YAML holds the interpreter for hundreds of milliseconds where
there are many devices, and the process that serves containers must not stand still.

On the request path nothing is read: one non-blocking look at the watch says whether the snapshot is current.
"""

from __future__ import annotations

import logging
import select
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

from nri_cdi.cdi import EMPTY, Snapshot, plain

from .inotify import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

LOG = logging.getLogger("nri_cdi.specs")

SCAN_TIMEOUT: Final = 30.0
"""Seconds after which the parsing child is ended: a directory on a dead network file system, or a file that is a bomb."""

RETRY: Final = 1.0
"""Seconds until a scan that failed as a whole is tried again."""

RESCAN: Final = 2.0
"""Seconds between two scans where the kernel does not watch for us."""


class ScanFailed(Exception):
    """The scan as a whole failed (not: a file in it is bad)."""


class Specs:
    """The current snapshot of `directories`, and who is told of a new one.

    `start` begins with a first scan in the background; `run` is the thread that keeps the snapshot current until `stop`.
    """

    def __init__(self, directories: tuple[str, ...]) -> None:
        self._directories = directories
        self._snapshot = EMPTY
        self._known = threading.Condition()
        self._dirty = True  # something happened that the snapshot does not hold yet
        self._stopping = threading.Event()
        self._listeners: list[Callable[[Snapshot], None]] = []
        self._said: dict[str, str] = {}
        self._child: subprocess.Popen[bytes] | None = None
        self._watch: Watch | None = None
        self._watch_refused = False
        self._failure = ""  # of the latest scan, as it was logged

    def start(self) -> None:
        """Begin the first scan: it runs while the caller goes on loading."""
        self._make_watch()
        self._child = _begin(self._directories)

    def subscribe(self, listener: Callable[[Snapshot], None]) -> None:
        """Have `listener` called with each new snapshot, from the thread of `run`. To be called before `run`."""
        self._listeners.append(listener)

    @property
    def snapshot(self) -> Snapshot:
        """The newest snapshot, current or not."""
        return self._snapshot

    def current(self, patience: float) -> Snapshot | None:
        """The snapshot, if it holds all that happened before this call; waits up to `patience` seconds for it, else None.

        Where the kernel does not watch for us (which is logged) a snapshot counts for RESCAN seconds.
        """
        if not self._behind():
            return self._snapshot
        deadline = time.monotonic() + patience
        with self._known:
            while self._behind():
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._known.wait(min(left, 0.01))  # short: an event that nothing follows wakes nobody
            return self._snapshot

    def run(self) -> None:
        """Keep the snapshot current until `stop`."""
        while not self._stopping.is_set():
            if self._dirty:
                self._refresh()
            self._wait()

    def stop(self) -> None:
        """End `run`, within two tenths of a second. To be called once."""
        self._stopping.set()
        child = self._child
        if child is not None:
            child.kill()

    # -- inside

    def _behind(self) -> bool:
        """Whether something happened that the snapshot does not hold.

        The watch is asked first: `run` says that it is dirty before it takes an event, so an event is seen here or there.
        """
        watch = self._watch
        return (watch is not None and watch.pending()) or self._dirty

    def _wait(self) -> None:
        """Until something relevant happened, or a while where nobody watches for us."""
        if self._watch is None:
            self._stopping.wait(RESCAN)
            self._make_watch()
            self._dirty = True
            return
        poll = select.poll()
        poll.register(self._watch.fd, select.POLLIN)
        while not self._stopping.is_set() and not self._dirty:
            if poll.poll(100):
                self._dirty = True  # before the events are taken, so that no request sees neither
                if self._watch.take():
                    return
                with self._known:
                    self._dirty = False
                    self._known.notify_all()

    def _make_watch(self) -> None:
        if self._watch is not None:
            return
        try:
            self._watch = Watch(self._directories)
        except OSError as error:
            self._say_unwatched(error)

    def _refresh(self) -> None:
        """Read the directories until nothing happens meanwhile; then the snapshot is current."""
        while not self._stopping.is_set():
            try:
                # a first scan that `start` began is older than what has happened since: that is for the scan behind it
                if self._child is None:
                    self._renew()
                snapshot = self._scan()
            except (ScanFailed, OSError) as error:
                self._say_failed(error)
                self._stopping.wait(RETRY)
                continue
            self._failure = ""
            with self._known:
                self._snapshot = snapshot
                self._dirty = self._watch is not None and self._watch.pending() and self._watch.take()
                self._known.notify_all()
            self._report(snapshot)
            for listener in self._listeners:
                listener(snapshot)
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
            self._watch = None  # not closed: a request may look at it just now
            self._say_unwatched(error)

    def _say_failed(self, error: Exception) -> None:
        """Log the failure of a scan once, as long as it is the same."""
        if str(error) != self._failure and not self._stopping.is_set():
            self._failure = str(error)
            LOG.error("the spec directories cannot be read, the devices known so far are kept: %s", error)

    def _say_unwatched(self, error: OSError) -> None:
        if not self._watch_refused:
            self._watch_refused = True
            LOG.warning("the kernel does not watch the spec directories (%s); they are read every %g s", error, RESCAN)

    def _scan(self) -> Snapshot:
        child = self._child = self._child or _begin(self._directories)
        if self._stopping.is_set():  # `stop` may have come before there was a child
            child.kill()
        try:
            out, err = child.communicate(timeout=SCAN_TIMEOUT)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            raise ScanFailed(
                f"no result after {SCAN_TIMEOUT:g} s; is one of {', '.join(self._directories)} on a dead network file system?"
            ) from None
        finally:
            self._child = None
        if child.returncode:
            last = err.decode(errors="replace").strip().rpartition("\n")[2]
            raise ScanFailed(f"the reading process ended with status {child.returncode}: {last or 'no message'}")
        try:
            return Snapshot.build(plain.decode(out))
        except ValueError as error:
            raise ScanFailed(str(error)) from error

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


def _begin(directories: tuple[str, ...]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "nri_cdi.cdi.scan", *directories]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # noqa: S603  # our own module
