"""Writes down what the interpreter opens, imports, lists, starts and compiles, in a process that has this directory in PYTHONPATH.

Each line of the file $AUDIT_LOG is an event of sys.audit with its first argument, from the start of the process on.
"""

from __future__ import annotations

import os
import sys

EVENTS = frozenset(
    {
        "open",
        "import",
        "os.listdir",
        "os.scandir",
        "subprocess.Popen",
        "os.exec",
        "os.posix_spawn",
        "os.fork",
        "os.system",
        "compile",
        "exec",
    }
)

# opened before there is a hook; written to by the call that no event tells of
_fd = os.open(os.environ["AUDIT_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if event in EVENTS:
        os.write(_fd, f"{event} {arguments[0] if arguments else ''}\n".encode())


sys.addaudithook(_note)
