"""Tells the registrations at once when a socket in the kubelet's directories comes or goes. They look by themselves ten times in a second, and that is the truth.

A kubelet that starts looks at its pods 0.9 s after it has made its socket, usually; it has been seen to do so after 0.2 s. What is not registered by then costs
the pods that wait.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
from typing import TYPE_CHECKING

from nri_cdi.host.node_watch import NodeWatch

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Iterable

_log = logging.getLogger("nri_cdi.kubelet")


class SocketWatch:
    """Calls `changed` whenever one of the sockets at `paths` may have come, gone or been replaced, from `start` to `stop`."""

    def __init__(self, paths: Iterable[pathlib.Path], changed: Callable[[], None]) -> None:
        self._paths = tuple(map(str, paths))
        self._changed = changed
        self._end = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="sockets", daemon=True)

    def start(self) -> None:
        """Start the thread, once."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread. A second call does nothing."""
        if self._end < 0:
            return
        os.eventfd_write(self._end, 1)
        if self._thread.ident is not None:
            self._thread.join()
        os.close(self._end)
        self._end = -1

    def _run(self) -> None:
        try:
            with contextlib.closing(NodeWatch(self._paths)) as watch:
                poll = select.poll()
                poll.register(watch, select.POLLIN)
                poll.register(self._end, select.POLLIN)
                while all(fd != self._end for fd, _ in poll.poll()):
                    if watch.take():
                        if watch.touched() is None:  # a directory itself is another one
                            watch.renew()
                        self._changed()
        except OSError as error:
            _log.info("the kernel does not watch the kubelet's sockets (%s); they are looked at all the same", error)
