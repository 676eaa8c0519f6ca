"""The kernel's own news of devices that come and go (uevents): a netlink socket, read with the standard library alone.

They are heard in the network namespace of the host only (a pod needs hostNetwork). Elsewhere, and for nodes that are made by hand, there
is `node_watch`; who listens here looks at the nodes again, and believes what is seen.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Final

_NETLINK_KOBJECT_UEVENT: Final = 15
_FROM_THE_KERNEL: Final = 1
_SIZE: Final = 1 << 16


def names_a_node(message: bytes) -> bool:
    """Whether a uevent is of a device that has a node in /dev, and that came, went, or found or lost its driver."""
    head, _, fields = message.partition(b"\0")
    action = head.partition(b"@")[0]
    return action in {b"add", b"remove", b"bind", b"unbind", b"move"} and b"\0DEVNAME=" in b"\0" + fields


class Uevents:
    """The uevents since it was made; `close` when done. Raises OSError where the kernel does not offer them."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, _NETLINK_KOBJECT_UEVENT
        )
        try:
            self._socket.bind((0, _FROM_THE_KERNEL))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """For poll."""
        return self._socket.fileno()

    def take(self) -> bool:
        """Take what has happened; whether a device node may have come or gone."""
        relevant = False
        with contextlib.suppress(BlockingIOError):
            while True:
                try:
                    relevant = names_a_node(self._socket.recv(_SIZE)) or relevant
                except OSError as error:
                    if isinstance(error, BlockingIOError):
                        raise
                    relevant = True  # some were lost: ENOBUFS
        return relevant

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()
