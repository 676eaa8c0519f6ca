"""What the lab says when it fails itself, and the one way in which it waits."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class LabError(Exception):
    """The lab failed: a missing part, a program that ended, a wait in vain. Not the answer of a runtime (that is `CriError`)."""


def wait_until(condition: Callable[[], object], timeout: float, what: str, pause: float = 0.01) -> None:
    """Return when `condition()` is true; it is asked every `pause` seconds.

    Raises LabError, naming `what`, after `timeout` seconds.
    """
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise LabError(f"waited {timeout:g} s in vain for {what}")
        time.sleep(pause)
