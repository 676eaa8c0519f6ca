"""When a process is to end: a signal says so, or a part of it.

A signal's handler runs in the midst of whatever the main thread is at: with the lock of an event in its hands, or half a log line written. So ours do nothing, and the
signal is told by the interpreter's wakeup descriptor (`signal.set_wakeup_fd`), which is written to at once, whatever that thread waits for.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

_BY_ITSELF: Final = b"\0"


class Ending:
    """Waits for the end from its construction on, until `close`. To be made and waited for by the main thread."""

    def __init__(self) -> None:
        self._out, self._in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._in, warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, _nothing)

    def begin(self) -> None:
        """Have the process end. From any thread."""
        with contextlib.suppress(OSError):  # the pipe is full of reasons to end, or it has ended
            os.write(self._in, _BY_ITSELF)

    def wait(self) -> signal.Signals | None:
        """Wait until it is to end; the signal that says so, if it is one."""
        poll = select.poll()
        poll.register(self._out, select.POLLIN)
        poll.poll()
        told = os.read(self._out, 1)
        return signal.Signals(told[0]) if told != _BY_ITSELF else None

    def close(self) -> None:
        """Wait no longer; the signals are without effect."""
        signal.set_wakeup_fd(-1)
        for descriptor in (self._in, self._out):
            os.close(descriptor)
        self._in = self._out = -1


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """Without a handler in Python the interpreter tells nobody."""
