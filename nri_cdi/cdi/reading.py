"""A program of its own that reads the spec directories for a process that must not stand still: `python -m nri_cdi.cdi.reading DIRECTORY...`.

Parsing YAML holds the interpreter lock for hundreds of milliseconds. Standard input has frames: what is known (see `packed`); for each a frame with a
look comes out. A frame is its length in eight bytes, then its bytes. It ends with its input, and after it has parsed much, to give the memory back.
"""

from __future__ import annotations

import signal
import struct
import sys

from nri_cdi.cdi import packed
from nri_cdi.cdi.files import RejectedFile
from nri_cdi.cdi.scan import look

LENGTH = struct.Struct(">Q")
"""The head of a frame."""

_DEVICES_MAX = 200
"""Devices parsed at once after which the process gives its memory back by ending."""


def main(directories: list[str]) -> None:
    """Answer each frame of standard input with one on standard output."""
    # A lease (see `scan`) that a writer breaks while we have it sends this signal, which would end us.
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    while len(head := sys.stdin.buffer.read(LENGTH.size)) == LENGTH.size:
        known = packed.decode_known(sys.stdin.buffer.read(*LENGTH.unpack(head)))
        found = look(directories, known, leases=True)
        answer = packed.encode_look(found)
        sys.stdout.buffer.write(LENGTH.pack(len(answer)) + answer)
        sys.stdout.buffer.flush()
        contents = [file.content for file in found.files if file.content is not None]
        if sum(10 if isinstance(file, RejectedFile) else len(file.spec.devices) for file in contents) > _DEVICES_MAX:
            return


if __name__ == "__main__":
    import gc

    gc.disable()  # the process is short-lived: collecting garbage costs more than keeping it
    main(sys.argv[1:])
