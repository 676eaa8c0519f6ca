"""What a service manager that started us and waits is told: that we are ready. The protocol is that of sd_notify(3), for a unit with Type=notify.

Datagrams of lines `NAME=VALUE` to the socket that $NOTIFY_SOCKET names. Nobody is told anything where it is not set.
"""

from __future__ import annotations

import logging
import socket
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, MutableMapping

VARIABLE: Final = "NOTIFY_SOCKET"

READY: Final = "READY=1"

POLL: Final = 0.02
"""Seconds between two looks whether we are ready; they ask for some values in memory."""

LOG = logging.getLogger("nri_cdi.notify")


def taken(environment: MutableMapping[str, str]) -> str:
    """The address in $NOTIFY_SOCKET, empty where it is not set. It is removed: no process that we start is to speak for us."""
    return environment.pop(VARIABLE, "")


def tell(address: str, message: str) -> None:
    """Send a message to a socket: a path, or after an `@` a name in the abstract namespace. Raises OSError when it cannot be sent."""
    if address[:1] not in {"/", "@"}:  # vsock, which a virtual machine's own manager has
        raise OSError(f"no address of a unix socket: {address}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(f"\0{address[1:]}" if address.startswith("@") else address)
        sock.send(message.encode())


def announce(address: str, missing: Callable[[], str | None], limit: float, stop: threading.Event) -> None:
    """Tell the service manager that we are ready, as soon as `missing` is None, and in any case after `limit` seconds, unless `stop` comes before.

    `missing` says what is not there yet; it must not wait. What is behind us in the order of a boot (the kubelet) waits for that, and would wait for ever for a
    spec directory on a dead file system.
    """
    until = time.monotonic() + limit
    while (why := missing()) is not None:
        if time.monotonic() >= until:
            LOG.warning("not ready after %g s; what waits for this service starts all the same: %s", limit, why)
            break
        if stop.wait(POLL):
            return
    try:
        tell(address, READY)
    except OSError as error:
        LOG.warning("the service manager at %s cannot be told that we are ready: %s", address, error)
