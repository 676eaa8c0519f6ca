"""The process that reads the spec directories for us: asked with what is known, it answers with what changed.

It takes a moment to start, so it is kept for a while, because changes seldom come alone; one that has become large is replaced by a fresh one at once.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from typing import IO, TYPE_CHECKING, Final

from nri_cdi.cdi import packed
from nri_cdi.cdi.look import NOTHING_KNOWN

if TYPE_CHECKING:
    from nri_cdi.cdi.look import Look, Memory

TIMEOUT: Final = 30.0
"""Seconds after which the process is ended: a directory on a dead network file system, or a file that is a bomb."""

KILLED: Final = 1.5
"""Seconds that a process which was killed has to end. One that waits for a dead file system ends when that answers, not before."""

_SLICE: Final = 0.1
"""Seconds after which a wait looks whether it is to be given up."""

MUCH: Final = 1 << 17
"""Bytes of an answer after which the process is replaced: parsing so much has made it large."""

_PART: Final = 1 << 18
"""Bytes taken from the pipe at once."""

_LENGTH: Final = 8
"""Bytes of the head of a frame, see `nri_cdi.cdi.reading`."""


class ScanFailed(Exception):
    """The scan as a whole failed (not: a file in it is bad)."""


class Reader:
    """Looks at `directories` in a child process. One thread asks; `stop` may come from another."""

    def __init__(self, directories: tuple[str, ...]) -> None:
        self._directories = directories
        self._child: subprocess.Popen[bytes] | None = None
        self._asked = False
        self._is_warm = False  # it may have ended between two questions
        self._is_large = False
        self._known, self._question, self._unsent = NOTHING_KNOWN, b"", memoryview(b"")
        self._stopped = False
        self._undead: subprocess.Popen[bytes] | None = None  # it was killed, and has not ended

    @property
    def is_asked(self) -> bool:
        """Whether a question is open."""
        return self._asked

    def ask(self, known: Memory) -> None:
        """Begin a look by one who knows that. Raises OSError when no process can be started, ScanFailed while one that was killed has not ended."""
        if self._child is not None and self._child.poll() is not None:
            self.end()
        child = self._child = self._child or self._begin()
        if self._stopped:  # it may have come before there was a child
            child.kill()
        self._asked, self._known = True, known
        question = packed.encode_known(known)
        self._question = len(question).to_bytes(_LENGTH, "big") + question
        self._put(child)

    def _put(self, child: subprocess.Popen[bytes]) -> None:
        """Begin to put the question: what the pipe takes now, which is mostly all."""
        assert child.stdin is not None  # noqa: S101 - it is a pipe
        os.set_blocking(child.stdin.fileno(), False)
        self._unsent = memoryview(self._question)
        self._send(child.stdin)

    def _send(self, pipe: IO[bytes]) -> None:
        try:
            # not through the pipe's buffer: what is left there would be waited for when the process is ended
            self._unsent = self._unsent[os.write(pipe.fileno(), self._unsent) :]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self._unsent = memoryview(b"")  # its last words say more: `answer` reads them

    def _send_all(self, deadline: float) -> None:
        """Put the rest of the question. Raises TimeoutError, also when stopped."""
        pipe = self._child.stdin if self._child is not None else None
        assert pipe is not None  # noqa: S101 - it was asked
        while self._unsent:
            self._wait(pipe, select.POLLOUT, deadline)
            self._send(pipe)

    def _wait(self, pipe: IO[bytes], event: int, deadline: float) -> None:
        """Until something can be done with the pipe. Raises TimeoutError, also when stopped: the process may not be able to end."""
        poll = select.poll()
        poll.register(pipe, event)
        while not poll.poll(min(max(left := deadline - time.monotonic(), 0), _SLICE) * 1000):
            if left <= 0 or self._stopped:
                raise TimeoutError

    def answer(self) -> Look:
        """Wait for the look. Raises ScanFailed."""
        deadline = time.monotonic() + TIMEOUT
        try:
            self._send_all(deadline)
            head, data = self._frame(deadline)
            if not head and self._is_warm:  # a fresh one has no such excuse
                self.end()
                self._child = self._begin()
                self._put(self._child)
                self._send_all(deadline)
                head, data = self._frame(deadline)
            unpacker, size = packed.Unpacker(self._known.contents), 0
            while (look := unpacker.take(self._whole(head, data))) is None:
                size += len(data)
                head, data = self._frame(deadline)
        except TimeoutError:
            self.end()
            raise ScanFailed(f"no result after {TIMEOUT:g} s; {self.suspicion}") from None
        except ValueError as error:
            self.end()
            raise ScanFailed(str(error)) from error
        except ScanFailed:
            self.end()
            raise
        self._asked, self._is_warm = False, True
        self._is_large = size + len(data) > MUCH
        return look

    def renew(self) -> None:
        """Replace the process if it has become large: to be called when nobody waits for it. The next question finds the fresh one ready."""
        if self._is_large:
            self.end()
            with contextlib.suppress(OSError, ScanFailed):  # then the next question says so
                self._child, self._is_warm = self._begin(), True

    @property
    def suspicion(self) -> str:
        """What to look at when nothing comes back."""
        return f"is one of {', '.join(self._directories)} on a dead network file system?"

    def _begin(self) -> subprocess.Popen[bytes]:
        """Start the process; one at a time, so that they do not pile up. Raises OSError, and ScanFailed."""
        if self._undead is not None and self._undead.poll() is None:
            raise ScanFailed(f"the process that reads them was killed and does not end; {self.suspicion}")
        self._undead = None
        return begin(self._directories)

    def _frame(self, deadline: float) -> tuple[bytes, bytes]:
        child = self._child
        assert child is not None  # noqa: S101 - it was asked
        assert child.stdout is not None  # noqa: S101 - it is a pipe
        head = self._take(child.stdout, _LENGTH, deadline)
        return head, self._take(child.stdout, int.from_bytes(head, "big") if len(head) == _LENGTH else 0, deadline)

    def _whole(self, head: bytes, data: bytes) -> bytes:
        """The frame. Raises ScanFailed with the last words of the process, if it is cut off."""
        if len(head) == _LENGTH and len(data) == int.from_bytes(head, "big"):
            return data
        child = self._child
        assert child is not None  # noqa: S101 - it was asked
        assert child.stderr is not None  # noqa: S101 - it is a pipe
        status = child.wait()
        last = child.stderr.read().decode(errors="replace").strip().rpartition("\n")[2]
        if status:
            raise ScanFailed(f"the reading process ended with status {status}: {last or 'no message'}")
        raise ScanFailed(f"not an encoded look, {len(head + data)} bytes: {last or 'no message'}")

    def _take(self, pipe: IO[bytes], size: int, deadline: float) -> bytes:
        """That many bytes, or fewer at the end of the pipe. Raises TimeoutError, also when stopped."""
        parts: list[bytes] = []
        while size > 0:
            self._wait(pipe, select.POLLIN, deadline)
            part = os.read(pipe.fileno(), min(size, _PART))
            if not part:
                break
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def end(self) -> None:
        """End the process, if there is one, or leave it behind if it does not end. To be called by the thread that asks."""
        child, self._child, self._asked, self._is_warm, self._is_large = self._child, None, False, False, False
        if child is None:
            return
        child.kill()
        try:
            child.communicate(timeout=KILLED)
        except subprocess.TimeoutExpired:
            self._undead = child
            for pipe in filter(None, (child.stdin, child.stdout, child.stderr)):
                pipe.close()

    def stop(self) -> None:
        """Have an open question fail at once, and every later one."""
        self._stopped = True
        child = self._child
        if child is not None:
            child.kill()


def begin(directories: tuple[str, ...]) -> subprocess.Popen[bytes]:
    """Start the process. Raises OSError."""
    command = [sys.executable, "-m", "nri_cdi.cdi.reading", *directories]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)  # noqa: S603  # our own module
