"""Pages over HTTP for probes and scrapes: a listening socket, one thread, no library behind it.

    pages = Pages(":9810", {"/healthz": lambda: (200, "ok")})
    pages.run()                                             # until stop() is called from another thread

http.server would bring a megabyte and the e-mail parser into a process that counts its memory. What probes need is small: GET and HEAD
of a path that is known, one answer, the connection closed (RFC 9112 with `Connection: close`). Each client has a second for all of it, and clients
are served side by side: none that says nothing, or little at a time, holds up a probe.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from nri_cdi.listening import Listening

if TYPE_CHECKING:
    from nri_cdi.listening import Hearing

Page = Callable[[], tuple[int, str]]
"""A page: its status and its text, both as they are now. It must not wait for anybody."""

PATIENCE: Final = 1.0
"""Seconds that one client has, for its request and for taking the answer."""

_REQUEST_MAX: Final = 8192
_WORDS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}


class Pages:
    """Serves `pages` (by path) at `address` (`HOST:PORT`, `[HOST]:PORT`, or `:PORT` for all addresses) until `stop`."""

    def __init__(self, address: str, pages: Mapping[str, Page]) -> None:
        """Listen. Raises OSError when that cannot be."""
        self._pages = pages
        self._listener = _listen(address)
        self._listening = Listening(self._listener, self._hearing, PATIENCE)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        port: int = self._listener.getsockname()[1]
        return port

    def run(self) -> None:
        """Serve until `stop`."""
        self._listening.run()

    def stop(self) -> None:
        """End serving."""
        self._listening.stop()

    def _hearing(self) -> Hearing:
        request = b""

        def hear(data: bytes) -> bytes:
            nonlocal request
            request += data
            if len(request) > _REQUEST_MAX:
                raise ConnectionAbortedError
            return answer(request, self._pages) if b"\r\n\r\n" in request else b""

        return hear


def answer(request: bytes, pages: Mapping[str, Page]) -> bytes:
    """The bytes that answer a request, of which the head is there whole."""
    method, _, rest = request.partition(b"\r\n")[0].decode("latin-1").partition(" ")
    target, _, version = rest.partition(" ")
    page = pages.get(target.partition("?")[0])
    if not version.startswith("HTTP/1."):
        status, text = 400, "this speaks HTTP/1.1\n"
    elif method not in {"GET", "HEAD"}:
        status, text = 405, "GET or HEAD\n"
    elif page is None:
        status, text = 404, f"here are {', '.join(pages)}\n"
    else:
        status, text = page()
    body = text.encode()
    head = f"HTTP/1.1 {status} {_WORDS[status]}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
    allow = "Allow: GET, HEAD\r\n" if status == 405 else ""
    return f"{head}{allow}Connection: close\r\n\r\n".encode() + (b"" if method == "HEAD" else body)


def _listen(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if host:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, int(port)), family=family)
    with contextlib.suppress(OSError):  # a machine without IPv6
        return socket.create_server(("", int(port)), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", int(port)))
