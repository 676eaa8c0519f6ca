"""A connected socket with its session, and the little that is done to the socket itself."""

from __future__ import annotations

import logging
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .session import Request, Session

LOG = logging.getLogger("nri_cdi.nri")

SEND_TIMEOUT: Final = struct.pack("ll", 1, 0)
"""A timeval, 1 s: behind our own deadline, so that the runtime has given up by then."""


class Connection:
    """A connected socket, its session, what has been received but not handled yet, and what the plugin is at."""

    def __init__(self, sock: socket.socket, session: Session) -> None:
        self.sock, self.session = sock, session
        self.queue: deque[Request] = deque()
        self.current: Request | None = None
        self.configured_at = 0.0
        self.synchronized = False  # ever
        self.closed_because: str | None = None  # when it is we who closed


def connected(path: str) -> socket.socket:
    """A socket connected to `path`. Raises OSError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, SEND_TIMEOUT)  # of connecting, too
        sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock


def shut(connection: Connection, how: int) -> None:
    """Make the thread that reads the socket see its end."""
    try:
        connection.sock.shutdown(how)
    except OSError:
        LOG.debug("the connection was closed already")
