"""The ListAndWatch streams of one plugin: each gets the newest list of devices, and their ends are counted."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from nri_cdi.kubelet.standing import Streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class DeviceStreams:
    """The list of devices, an encoded message that is swapped in whole, and the streams that follow it. Safe to use from any thread.

    A stream is a number: `open` gives it, `follow` yields its lists, `end` ends it. `on_end` is called after each end.
    """

    def __init__(self, message: bytes, on_end: Callable[[], None]) -> None:
        self._changed = threading.Condition()
        self._message = message
        self._open: set[int] = set()
        self._opened = 0
        self._last_end = 0.0
        self._closed = False
        self._held = False
        self._on_end = on_end

    @property
    def counts(self) -> Streams:
        """How many streams are open and how many have ended so far; times are of `time.monotonic`."""
        with self._changed:
            return Streams(len(self._open), self._opened - len(self._open), self._last_end)

    def update(self, message: bytes) -> None:
        """Give a new list to every stream, if it is another one."""
        with self._changed:
            if message != self._message:
                self._message = message
                self._changed.notify_all()

    def hold(self, *, held: bool) -> None:
        """Whether streams that have a list get no newer one for now."""
        with self._changed:
            if held != self._held:
                self._held = held
                self._changed.notify_all()

    def close(self) -> None:
        """Let every stream run out, and each that is opened later at once."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def open(self) -> int:
        """A new stream."""
        with self._changed:
            self._opened += 1
            self._open.add(self._opened)
            return self._opened

    def follow(self, stream: int) -> Iterator[bytes]:
        """The list as it is, then each new one, until the stream ends. Lists that are replaced before they are taken are left out."""
        sent: bytes | None = None

        def due() -> bool:
            return self._over(stream) or (self._message is not sent and not (self._held and sent is not None))

        while True:
            with self._changed:
                self._changed.wait_for(due)
                if self._over(stream):
                    return
                sent = self._message
            yield sent

    def end(self, stream: int) -> None:
        """The stream is over, whoever ended it; a second call does nothing."""
        with self._changed:
            if stream not in self._open:
                return
            self._open.remove(stream)
            self._last_end = time.monotonic()
            self._changed.notify_all()
        self._on_end()

    def _over(self, stream: int) -> bool:
        """Whether nothing more goes to the stream; the lock is held."""
        return self._closed or stream not in self._open
