"""A socket that is served one connection after another, until it is stopped: what our small servers have in common."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Listening:
    """Hands each connection of a listening socket to `serve`, with `patience` seconds for each wait on it.

    An error of the kinds `passing` ends that connection only.
    """

    def __init__(
        self,
        listener: socket.socket,
        serve: Callable[[socket.socket], None],
        patience: float,
        passing: tuple[type[Exception], ...] = (OSError,),
    ) -> None:
        self._listener, self._serve, self._patience, self._passing = listener, serve, patience, passing
        self._stopping = threading.Event()

    def run(self) -> None:
        """Serve until `stop`."""
        while not self._stopping.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                if self._stopping.is_set():
                    return
                raise
            with sock, contextlib.suppress(*self._passing):
                sock.settimeout(self._patience)
                self._serve(sock)

    def stop(self) -> None:
        """End serving, from another thread."""
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
