"""Makes a look at certain device nodes go wrong, in a process that has this directory in PYTHONPATH: what a dead file system or a bad driver does.

/dev/trouble/hang    does not come back, as a stat on a dead network file system
/dev/trouble/hold    does not come back and holds the interpreter's lock, as a C extension may that hangs
/dev/trouble/die     ends the process, without a word
/dev/trouble/raise   raises what nobody expects
"""

from __future__ import annotations

import ctypes
import os
import threading
from typing import TYPE_CHECKING, Final

from nri_cdi.host.root import HostRoot

if TYPE_CHECKING:
    from collections.abc import Callable

    from nri_cdi.cdi import HostNode

FOREVER: Final = 30  # seconds: longer than any test looks


def _raise() -> None:
    raise RuntimeError("nobody expects this")


_TROUBLES: Final[dict[str, Callable[[], object]]] = {
    "/dev/trouble/hang": lambda: threading.Event().wait(FOREVER),
    "/dev/trouble/hold": lambda: ctypes.PyDLL(None).sleep(FOREVER),
    "/dev/trouble/die": lambda: os._exit(9),
    "/dev/trouble/raise": _raise,
}
_look = HostRoot.device_node


def _device_node(self: HostRoot, path: str) -> HostNode:
    if (trouble := _TROUBLES.get(path)) is not None:
        trouble()
    return _look(self, path)


HostRoot.device_node = _device_node  # type: ignore[method-assign]  # what this file is for
