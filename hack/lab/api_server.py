"""A client of the Kubernetes API: JSON over the unix socket of `kubectl proxy`, which acts as the cluster's admin."""

from __future__ import annotations

import http.client
import json
import socket
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

_NOT_FOUND: Final = 404
_REFUSED: Final = 300

Object = dict[str, Any]
"""An object of the Kubernetes API, as JSON has it."""


class ApiError(Exception):
    """The API server refused a call: HTTP `status`, and its answer."""

    def __init__(self, status: int, answer: str) -> None:
        super().__init__(f"the API server answered {status}: {answer}")
        self.status = status


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class ApiServer:
    """Calls by the proxy's socket at `path`. Each raises ApiError when it is refused, OSError when nobody is there."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def text(self, method: str, resource: str, body: Object | None = None, timeout: float = 30) -> str:
        """The answer to one call, as text."""
        connection = _Connection(self._path, timeout)
        try:
            content = None if body is None else json.dumps(body)
            kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
            connection.request(method, resource, content, {"Content-Type": kind})
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        finally:
            connection.close()
        if answer.status >= _REFUSED:
            raise ApiError(answer.status, text)
        return text

    def call(self, method: str, resource: str, body: Object | None = None) -> Object:
        """The answer to one call, decoded."""
        result: Object = json.loads(self.text(method, resource, body))
        return result

    def find(self, resource: str) -> Object | None:
        """An object, or None if there is none."""
        try:
            return self.call("GET", resource)
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return None
            raise

    def items(self, resource: str) -> list[Object]:
        """The objects of a list."""
        return self.call("GET", resource)["items"] or []
