"""The least of a container runtime that an NRI plugin can serve: one connection, one call after another, its answer's time.

It knows no containers and checks nothing: it sends the requests that it is given, and does nothing else that would be measured as
well. The stand-in that checks and records what a plugin does is `nri_cdi.testing.runtime`; the real runtimes are `lab.node`.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Final, Self

from lab.trouble import LabError
from nri_cdi.nri import api
from nri_cdi.nri.events import PLUGIN_SERVICE, RUNTIME_SERVICE
from nri_cdi.ttrpc import AnswerReceived, CallReceived, Link

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from nri_cdi.ttrpc import Event

REQUEST_TIMEOUT: Final = 2.0
_PATIENCE: Final = 10.0
_METADATA: Final = (("containerd-namespace-ttrpc", "k8s.io"),)


class Driver:
    """Listens at `path` from its construction on; `accept` takes a plugin through the handshake, `call` asks it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        self._listener.settimeout(_PATIENCE)
        self._sock: socket.socket | None = None
        self._link = Link(serves=2, calls=1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sock is not None:
            self._sock.close()
        self._listener.close()

    def accept(self, version: str = "v2.4.2", nri: str = "v0.12.3") -> float:
        """Wait for a plugin and synchronise it; returns when it registered, on `time.monotonic`'s clock.

        Raises TimeoutError.
        """
        self._sock, _ = self._listener.accept()
        self._sock.settimeout(_PATIENCE)
        self._link = Link(serves=2, calls=1)
        registered = 0.0
        while not registered:
            for event in self._receive():
                if isinstance(event, CallReceived) and (event.service, event.method) == (
                    RUNTIME_SERVICE,
                    "RegisterPlugin",
                ):
                    registered = time.monotonic()
                    self._sock.sendall(self._link.answer(event.stream, b""))
        configure = api.ConfigureRequest(
            runtime_name="containerd",
            runtime_version=version,
            registration_timeout=5000,
            request_timeout=2000,
            NRI_version=nri,
        )
        self.call("Configure", configure.SerializeToString())
        self.call("Synchronize", api.SynchronizeRequest().SerializeToString())
        return registered

    def call(self, method: str, payload: bytes) -> AnswerReceived:
        """Call the plugin and wait for its answer. Raises TimeoutError, and LabError when it closes the connection."""
        return self.timed(method, payload)[0]

    def timed(self, method: str, payload: bytes) -> tuple[AnswerReceived, float]:
        """The same, with the seconds from the first byte sent to the last one received."""
        assert self._sock is not None
        stream, data = self._link.call(
            PLUGIN_SERVICE, method, payload, timeout_nano=int(REQUEST_TIMEOUT * 1e9), metadata=_METADATA
        )
        started = time.perf_counter()
        self._sock.sendall(data)
        while True:
            for event in self._receive():
                if isinstance(event, AnswerReceived) and event.stream == stream:
                    return event, time.perf_counter() - started

    def _receive(self) -> list[Event]:
        assert self._sock is not None
        data = self._sock.recv(1 << 16)
        if not data:
            raise LabError("the plugin closed the connection")
        return self._link.receive(data)


def container_request(annotations: dict[str, str], size: int = 4096) -> api.CreateContainerRequest:
    """A CreateContainer request as of an ordinary pod, filled up with labels to about `size` encoded bytes."""
    pod = api.PodSandbox(
        id="0" * 64,
        name="some-pod-7c9f6d5b8d-x2x4z",
        uid="6f1c0c1e-1d2e-4f7a-9b0a-000000000000",
        namespace="default",
        annotations={"kubernetes.io/config.source": "api"},
        labels={"app": "some"},
    )
    container = api.Container(
        id="1" * 64,
        pod_sandbox_id=pod.id,
        name="main",
        annotations={"io.kubernetes.container.hash": "5d7b3a1c", **annotations},
        args=["/bin/server", "--listen=:8080"],
        env=["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"],
        mounts=[
            api.Mount(
                destination=place,
                type="bind",
                source=f"/var/lib/kubelet/pods/x{place}",
                options=["rbind", "rprivate", "rw"],
            )
            for place in ("/etc/hosts", "/dev/termination-log", "/var/run/secrets/kubernetes.io/serviceaccount")
        ],
    )
    request = api.CreateContainerRequest(pod=pod, container=container)
    number = 0
    while request.ByteSize() < size:
        number += 1
        request.container.labels[f"label-{number}"] = "x" * 40
    return request
