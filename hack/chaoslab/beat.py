"""A metronome on each processor that notes when it was late: `beat.py FILE`. Then nobody on this processor could have gone on.

Each line of FILE is `FROM TO`, seconds on the machine's monotonic clock: from when a beat was due to when it came, if that was over `LATE`.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

LATE: Final = 0.03
"""Seconds. What is shorter is the scheduler's ordinary turn on a machine with more to do than processors."""

_BEAT: Final = 0.01


def main(arguments: Sequence[str]) -> int:
    """Beat until killed, in one process for each processor."""
    for processor in sorted(os.sched_getaffinity(0))[1:]:
        if os.fork() == 0:
            os.sched_setaffinity(0, {processor})
            break
    else:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with Path(arguments[0]).open("a", buffering=1) as out:
        while True:
            due = time.monotonic() + _BEAT
            time.sleep(_BEAT)
            now = time.monotonic()
            if now - due > LATE:
                out.write(f"{due:.6f} {now:.6f}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
