"""What a program logs, for tests that wait for a line."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Log(logging.Handler):
    """The lines logged so far, from INFO on, and waiting for one."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._changed = threading.Condition()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record's message."""
        with self._changed:
            self.lines.append(record.getMessage())
            self._changed.notify_all()

    def count(self, words: str) -> int:
        """How many lines hold these words."""
        return sum(words in line for line in self.lines)

    def wait_for(self, words: str, count: int = 1, timeout: float = 20.0) -> None:
        """Wait until so many lines hold these words. Raises AssertionError after `timeout` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.count(words) >= count, timeout):
                raise AssertionError(f"{words!r} not logged {count} times; logged: {self.lines}")


@contextlib.contextmanager
def logged(name: str) -> Iterator[Log]:
    """The log of the logger `name` and those below it."""
    handler, logger = Log(), logging.getLogger(name)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield handler
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
