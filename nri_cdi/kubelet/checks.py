"""The checks before containers' starts that are under way in one plugin, and which of them do not come back."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

CHECKS: Final = 24
"""PreStartContainer calls of one resource that are answered at the same time; the kubelet tries the others again within a second."""

HANGS: Final = 3.0
"""Seconds after which a check hangs: it looks at a node on a file system that does not answer, perhaps for ever. The NRI half has two to answer."""


class Unchecked(Exception):  # not an error of this program
    """A container's devices are not checked now; the message says why."""


class Checks:
    """Gives each check its place. Safe to use from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._begun: dict[object, tuple[frozenset[str], float]] = {}

    @contextlib.contextmanager
    def of(self, names: Iterable[str]) -> Iterator[None]:
        """The place of a check of these devices. Raises Unchecked when there is none.

        One that hangs keeps its place. No other gets one whose devices have all of its devices among them: it would hang too, and as the kubelet
        tries again and again, one such container would take all places.
        """
        place, devices = object(), frozenset(names)
        with self._lock:
            now = self._clock()
            for others, since in self._begun.values():
                if now - since >= HANGS and others <= devices:
                    raise Unchecked(
                        f"{', '.join(sorted(others))} cannot be looked at: a look that began {now - since:.0f} s ago has not come back"
                    )
            if len(self._begun) >= CHECKS:
                raise Unchecked(f"nri-cdi checks {CHECKS} other containers now: the kubelet will try again")
            self._begun[place] = devices, now
        try:
            yield
        finally:
            with self._lock:
                del self._begun[place]
