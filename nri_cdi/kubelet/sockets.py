"""The unix sockets of the kubelet's directories: how ours are named, whether somebody serves one, and which one it is."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import pathlib

    from nri_cdi.kubelet.standing import SocketId

_PREFIX: Final = "nri-cdi_"

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
"""How a client of HTTP/2 begins: the preface, and a SETTINGS frame that has none (RFC 9113, 3.4 and 6.5)."""


def socket_name(resource: str) -> str:
    """The file name of a resource's socket. A resource's domain has no underscore, so no two resources share a name."""
    return f"{_PREFIX}{resource.replace('/', '_')}.sock"


def resource_sockets(directory: pathlib.Path) -> dict[str, pathlib.Path]:
    """The sockets of ours in a directory, by resource, sorted; none where there is no such directory."""
    paths = sorted(directory.glob(f"{_PREFIX}*_*.sock"))
    return {path.stem.removeprefix(_PREFIX).replace("_", "/", 1): path for path in paths}


def connect_problem(path: pathlib.Path) -> str | None:
    """Why nobody accepts a connection to the unix socket at `path` now, or None; a full queue is somebody."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)
        code = probe.connect_ex(os.fsencode(path))
    return None if code in {0, errno.EAGAIN, errno.EINPROGRESS} else os.strerror(code)


def answer_problem(path: pathlib.Path, seconds: float) -> str | None:
    """Why no gRPC server answers at the unix socket at `path` within so many seconds, or None.

    The kernel accepts connections for a process that is frozen; a server says the first word of HTTP/2 (RFC 9113, 3.4) by itself.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(seconds)
        try:
            probe.connect(os.fsencode(path))
            probe.sendall(_PREFACE)
            return None if probe.recv(1) else "it hangs up"
        except TimeoutError:
            return f"it accepts connections, and has not answered for {seconds:g} s"
        except OSError as error:
            return error.strerror or str(error)


def socket_id(path: pathlib.Path) -> SocketId | None:
    """What tells the socket file at `path` from one that was there before; None if there is none, or it cannot be seen."""
    with contextlib.suppress(OSError):
        found = path.lstat()
        return found.st_dev, found.st_ino, found.st_ctime_ns
    return None
