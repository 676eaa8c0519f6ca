"""A runner for a plugin that the runtime starts itself (NRI's pre-installed plugins, /opt/nri/plugins).

The runtime hands a connected socket over, in place of a path to connect to, and starts another process when it wants one. So when the connection is
lost there is nothing left to do.
"""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING, Any

from .connection import SEND_TIMEOUT
from .shell import Runner

if TYPE_CHECKING:
    from .connection import Connection
    from .plugin import Plugin

LOG = logging.getLogger("nri_cdi.nri")


class InheritedRunner(Runner):
    """A `Runner` on a connection that is there already; `run` returns when it is lost. `terms` are the keyword arguments of `Runner`."""

    def __init__(self, plugin: Plugin, sock: socket.socket, name: str, index: str, **terms: Any) -> None:  # noqa: ANN401  # Runner's own
        super().__init__(plugin, "", name, index, **terms)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, SEND_TIMEOUT)
        self._sock = sock

    def _open(self) -> socket.socket:
        return self._sock

    def _lost(self, connection: Connection, error: Exception) -> None:
        asked = self._stopping.is_set()
        self._stopping.set()
        super()._lost(connection, error)
        if not asked:
            LOG.info(
                "the runtime that started us is gone, or has thrown us out: %s; ending",
                str(error) or "it closed the connection",
            )
