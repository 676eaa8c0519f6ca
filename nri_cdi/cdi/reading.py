"""A program of its own that reads the spec directories for a process that must not stand still: `python -m nri_cdi.cdi.reading DIRECTORY...`.

Parsing YAML holds the interpreter lock for hundreds of milliseconds. Standard input has frames: what is known (see `packed`); for each the frames of a
look come out. A frame is its length in eight bytes, then its bytes. It ends with its input.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import struct
import sys

from nri_cdi.cdi import packed
from nri_cdi.cdi.scan import look

LENGTH = struct.Struct(">Q")
"""The head of a frame."""


def main(directories: list[str]) -> None:
    """Answer each frame of standard input with a look on standard output."""
    # A lease (see `scan`) that a writer breaks while we have it sends this signal, which would end us.
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    while len(head := sys.stdin.buffer.read(LENGTH.size)) == LENGTH.size:
        known, judged = packed.decode_known(sys.stdin.buffer.read(*LENGTH.unpack(head)))
        for frame in packed.encode_look(look(directories, known, judged, leases=True)):
            sys.stdout.buffer.write(LENGTH.pack(len(frame)) + frame)
            sys.stdout.buffer.flush()
        gc.collect()  # when nobody waits for it; what was there before the first question is not looked at


if __name__ == "__main__":
    if (nice := os.getpriority(os.PRIO_PROCESS, 0)) < 0:
        with contextlib.suppress(PermissionError):  # a hardened unit forbids the call
            os.nice(-nice)  # who started us may go before others; parsing need not
    gc.disable()  # while somebody waits: see `main`
    gc.freeze()
    main(sys.argv[1:])
