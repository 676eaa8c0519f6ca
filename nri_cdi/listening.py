"""A socket whose clients each ask one question and have one answer, until it is stopped: what our small servers have in common.

One thread serves all clients side by side, so one that is silent or slow holds up nobody but itself.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

CLIENTS: Final = 64
"""How many clients there are at a time; the oldest gives way to the next one."""

_RECEIVE: Final = 1 << 16

Hearing = Callable[[bytes], bytes]
"""Takes what one client sends, piece by piece -> the answer once the question is whole, nothing before that."""


@dataclass(slots=True)
class _Client:
    sock: socket.socket
    hear: Hearing
    deadline: float
    unsent: bytes = b""


class Listening:
    """Gives each client of a listening socket the answer of a `hearing` of its own, then closes the connection.

    A client has `patience` seconds from first to last, however it spends them. It is left earlier at an error of the kinds `passing`, of its
    connection or raised by its hearing, and when there are CLIENTS newer ones.
    """

    def __init__(
        self,
        listener: socket.socket,
        hearing: Callable[[], Hearing],
        patience: float,
        passing: tuple[type[Exception], ...] = (OSError,),
    ) -> None:
        self._listener, self._hearing, self._patience, self._passing = listener, hearing, patience, passing
        self._listener.settimeout(0)
        self._clients: dict[int, _Client] = {}  # by the number of the socket, in the order in which they came
        self._poll = select.poll()
        self._stopping = threading.Event()
        self._running = threading.Lock()

    def run(self) -> None:
        """Serve until `stop`."""
        with self._running, self._listener:
            door = self._listener.fileno()
            if not self._stopping.is_set():
                self._poll.register(door, select.POLLIN)
            while not self._stopping.is_set():
                ready = dict(self._poll.poll(self._wait()))
                now = time.monotonic()  # not later: what we take for an answer is not the client's time
                for number in ready.keys() - {door}:
                    self._go_on(number)
                for number in [number for number, client in self._clients.items() if client.deadline <= now]:
                    self._leave(number)
                if door in ready and not self._stopping.is_set():
                    self._take()  # last: it may get the number of one that has left
            for number in list(self._clients):
                self._leave(number)

    def stop(self) -> None:
        """End serving, from another thread."""
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # `run` is woken by that, and closes it
        if self._running.acquire(blocking=False):
            self._listener.close()
            self._running.release()

    def _wait(self) -> float | None:
        """Milliseconds until the next client has had its time."""
        oldest = next(iter(self._clients.values()), None)
        return None if oldest is None else max(oldest.deadline - time.monotonic(), 0) * 1000

    def _take(self) -> None:
        """Take a client that waits, if it still does."""
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            sock, _ = self._listener.accept()
            sock.settimeout(0)
            if len(self._clients) == CLIENTS:
                self._leave(next(iter(self._clients)))
            self._clients[sock.fileno()] = _Client(sock, self._hearing(), time.monotonic() + self._patience)
            self._poll.register(sock, select.POLLIN)

    def _go_on(self, number: int) -> None:
        """Hear a client, or go on answering it; it has said something, takes more, or has left."""
        client = self._clients[number]
        try:
            if not client.unsent:
                if not (data := client.sock.recv(_RECEIVE)):
                    self._leave(number)
                    return
                client.unsent = client.hear(data)
                if not client.unsent:
                    return
                self._poll.modify(number, select.POLLOUT)
            client.unsent = client.unsent[client.sock.send(client.unsent) :]
        except BlockingIOError:
            return
        except self._passing:
            client.unsent = b""
        if not client.unsent:
            self._leave(number)

    def _leave(self, number: int) -> None:
        self._poll.unregister(number)
        self._clients.pop(number).sock.close()
