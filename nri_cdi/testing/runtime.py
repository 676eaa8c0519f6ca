"""A stand-in for a container runtime: it speaks real NRI to a plugin over a unix socket, as containerd does.

    with FakeRuntime(path, "2.1.9") as runtime:
        link = runtime.connect()                       # accepts the plugin, registers, configures and synchronizes it
        adjusted = link.create_container(pod, container)
        link.start_container(pod, container)           # as this version does: here a StateChange

It does nothing by itself: the test drives it, and each step blocks until the plugin has done its part, at most `timeout` seconds. What
containerd does to a plugin that misbehaves, this does too: it closes the connection and raises `Misbehaved`. It is fit for tests of any
plugin, in any language. Nothing in it sleeps, and no thread runs. One connection is for one thread at a time.
"""

from __future__ import annotations

import contextlib
import pathlib
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Self, TypeVar

from google.protobuf.message import Message

from nri_cdi.nri import Event, Version, api, nri_version
from nri_cdi.nri.events import METHODS, PLUGIN_SERVICE, mask
from nri_cdi.ttrpc import (
    PLUGIN_CONNECTION,
    RUNTIME_CONNECTION,
    AnswerReceived,
    CallReceived,
    Link,
    Status,
    UnreadableCallReceived,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

TIMEOUT: Final = 10.0
"""Seconds that a step waits for the plugin, unless said otherwise: a test that takes as long has failed."""

Form = Literal["rpc", "state-change"]
"""How an event is sent: by the RPC of its own, or as StateChange."""

_M = TypeVar("_M", bound=Message)
_RPCS: Final = {event: method for method, event in METHODS.items()}
_ALWAYS_RPC: Final = frozenset(
    {
        Event.CREATE_CONTAINER,
        Event.UPDATE_CONTAINER,
        Event.STOP_CONTAINER,
        Event.UPDATE_POD_SANDBOX,
        Event.VALIDATE_CONTAINER_ADJUSTMENT,
    }
)
_UNKNOWN_CODE: Final = 2  # what Go answers for an error without a code


class CallRefused(Exception):
    """The plugin answered with an error: `status`. containerd hands its code and text to whoever made the container."""

    def __init__(self, status: Status) -> None:
        super().__init__(str(status))
        self.status = status


class Misbehaved(Exception):
    """The plugin did what makes containerd close its connection; it is closed."""


class Gone(Exception):
    """The plugin has closed the connection."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The plugin's answer to a call: a payload, or None and an error's status."""

    payload: bytes | None
    status: Status


class FakeRuntime:
    """Listens on `path` from its construction, or `listen`, to `close`. `version` is the runtime's own, such as "1.7.24"; what NRI it
    speaks follows from it. `request_timeout` is in seconds.
    """

    def __init__(
        self,
        path: str | pathlib.Path,
        version: str = "1.7.24",
        *,
        name: str = "containerd",
        nri: str = "",
        request_timeout: float = 2.0,
        timeout: float = TIMEOUT,
    ) -> None:
        self.path = pathlib.Path(path)
        self.name, self.version, self.request_timeout = name, version, request_timeout
        self.nri: Version = nri_version(name, version, nri)
        self.timeout = timeout
        self._listener: socket.socket | None = None
        self._links: list[PluginLink] = []
        self.listen()

    def __repr__(self) -> str:
        return f"<FakeRuntime {self.name} {self.version} (NRI {self.nri}) {self.path}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def listen(self) -> None:
        """Listen (again), as a runtime that starts: the socket file that an earlier one left is replaced."""
        self.path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.path))
        self._listener.listen(8)
        self._listener.settimeout(self.timeout)

    def close(self, *, unlink: bool = False) -> None:
        """End, as a runtime that is stopped: all connections close, without a word. The socket file stays unless `unlink`."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for link in self._links:
            link.close()
        self._links.clear()
        if unlink:
            self.path.unlink(missing_ok=True)

    def accept(self) -> PluginLink:
        """The next connection that a plugin makes. Raises TimeoutError."""
        if self._listener is None:
            raise RuntimeError("this runtime is closed: call listen() first")
        sock, _ = self._listener.accept()
        link = PluginLink(sock, self)
        self._links.append(link)
        return link

    def connect(
        self, pods: Sequence[api.PodSandbox] = (), containers: Sequence[api.Container] = (), *, parts: int = 1
    ) -> PluginLink:
        """The next plugin, taken through the whole handshake. Raises TimeoutError, and what its steps raise."""
        link = self.accept()
        link.register()
        link.configure()
        link.synchronize(pods, containers, parts=parts)
        return link

    def configuration(self, config: str = "") -> api.ConfigureRequest:
        """What this runtime says in Configure; the fields that its NRI does not have are empty."""
        request = api.ConfigureRequest(config=config, runtime_name=self.name, runtime_version=self.version)
        if self.nri >= (0, 8, 0):
            request.registration_timeout = 5000
            request.request_timeout = round(self.request_timeout * 1000)
        if self.nri >= (0, 12, 0):
            request.NRI_version = f"v{self.nri}"
        return request


class PluginLink:
    """The runtime's end of one connection. `sent` is every byte that went to the plugin, in order.

    Every step may raise TimeoutError (the plugin does nothing), Gone (it has closed) and RemoteProtocolError (a wrong byte; a second answer to
    one call is such a byte).
    """

    def __init__(self, sock: socket.socket, runtime: FakeRuntime) -> None:
        self.sent = bytearray()
        self._sock, self._runtime = sock, runtime
        self._link = Link(serves=RUNTIME_CONNECTION, calls=PLUGIN_CONNECTION)
        self._answers: dict[int, Answer] = {}
        self._calls: list[CallReceived] = []

    # -- the handshake

    def expect_registration(self) -> tuple[int, api.RegisterPluginRequest]:
        """Wait for RegisterPlugin and leave it unanswered: its stream, and what it says."""
        while not self._calls:
            self._read(self._runtime.timeout)
        call = self._calls.pop(0)
        if call.method != "RegisterPlugin":
            raise Misbehaved(f"the plugin called {call.method} before RegisterPlugin")
        return call.stream, api.RegisterPluginRequest.FromString(call.payload)

    def answer_registration(self, stream: int) -> None:
        """Accept a registration that was left unanswered."""
        self.send(self._link.answer(stream, b""))

    def register(self) -> api.RegisterPluginRequest:
        """Wait for RegisterPlugin and accept it."""
        stream, request = self.expect_registration()
        self.answer_registration(stream)
        return request

    def refuse_registration(self, reason: str) -> api.RegisterPluginRequest:
        """Wait for RegisterPlugin and refuse it. As with containerd, the connection stays open, and nothing more comes."""
        stream, request = self.expect_registration()
        self.send(self._link.refuse(stream, _UNKNOWN_CODE, reason))
        return request

    def configure(self, config: str = "") -> api.ConfigureResponse:
        """Configure the plugin. Raises Misbehaved for an event that this runtime does not know, and when it is refused."""
        try:
            response = self.call("Configure", self._runtime.configuration(config), api.ConfigureResponse)
        except CallRefused as error:
            raise self._misbehaved(f"failed to configure plugin: {error}") from error
        if response.events & ~mask(Event, self._runtime.nri):
            raise self._misbehaved(f"invalid plugin events: {response.events:#x}")
        return response

    def synchronize(
        self, pods: Sequence[api.PodSandbox] = (), containers: Sequence[api.Container] = (), *, parts: int = 1
    ) -> Sequence[api.ContainerUpdate]:
        """Tell the plugin what runs, in `parts` requests (NRI 0.8 and newer split what is large): the updates it wants.

        Raises Misbehaved when the plugin refuses, does not echo `more`, or wants updates before the last part.
        """
        for part in range(parts):
            more = part < parts - 1
            request = api.SynchronizeRequest(pods=pods[part::parts], containers=containers[part::parts], more=more)
            try:
                response = self.call("Synchronize", request, api.SynchronizeResponse)
            except CallRefused as error:
                raise self._misbehaved(f"failed to synchronize plugin: {error}") from error
            if response.more != more:
                raise self._misbehaved("the plugin does not do split synchronization: `more` was not echoed")
            if not more:
                return response.update
            if response.update:
                raise self._misbehaved("updates before the last part of Synchronize")
        raise ValueError("at least one part")

    # -- events

    def create_container(self, pod: api.PodSandbox, container: api.Container) -> api.CreateContainerResponse:
        """What the plugin adjusts. Raises CallRefused, and Misbehaved when it takes longer than the request timeout."""
        request = api.CreateContainerRequest(pod=pod, container=container)
        return self.call("CreateContainer", request, api.CreateContainerResponse)

    def start_container(self, pod: api.PodSandbox, container: api.Container, form: Form | None = None) -> None:
        """The container is about to start. Raises as `create_container`."""
        self.event(Event.START_CONTAINER, pod, container, form)

    def event(
        self, event: Event, pod: api.PodSandbox, container: api.Container | None = None, form: Form | None = None
    ) -> bytes:
        """Any event, in the form that this runtime's version uses, or in the given one: the encoded answer. Raises as `create_container`."""
        stream = self.begin(*self.encoded(event, pod, container, form))
        return self._payload(stream, event.name)

    def encoded(
        self, event: Event, pod: api.PodSandbox, container: api.Container | None = None, form: Form | None = None
    ) -> tuple[str, bytes]:
        """The method and the encoded request of an event: what `begin` takes."""
        if form is None:
            form = "rpc" if self._runtime.nri >= (0, 12, 0) or event in _ALWAYS_RPC else "state-change"
        if form == "state-change":
            change = api.StateChangeEvent(event=api.Event.Name(event), pod=pod, container=container)
            return "StateChange", change.SerializeToString()
        method = _RPCS[event]
        request = api.SERVICES[PLUGIN_SERVICE][method][0]()
        for field, value in (("pod", pod), ("container", container)):
            if value is not None and field in request.DESCRIPTOR.fields_by_name:
                getattr(request, field).CopyFrom(value)
        return method, request.SerializeToString()

    def shutdown(self) -> None:
        """Tell the plugin that the runtime goes down (containerd itself just goes)."""
        self.call("Shutdown", api.Empty(), api.Empty)

    # -- calls, step by step

    def call(self, method: str, request: Message, answer: type[_M]) -> _M:
        """Call a method and wait for its answer. Raises CallRefused, and Misbehaved when there is none in the request timeout."""
        payload = self._payload(self.begin(method, request.SerializeToString()), method)
        return answer.FromString(payload)

    def begin(self, method: str, payload: bytes, *, service: str = PLUGIN_SERVICE, timeout: float | None = None) -> int:
        """Send a call without waiting: its stream. `timeout` is what it says it allows, the request timeout as a rule."""
        allowed = self._runtime.request_timeout if timeout is None else timeout
        stream, data = self._link.call(service, method, payload, timeout_nano=round(allowed * 1e9))
        self.send(data)
        return stream

    def wait(self, stream: int, timeout: float | None = None) -> Answer:
        """The answer to a call that was begun. Raises TimeoutError; the call may still be answered later."""
        end = time.monotonic() + (self._runtime.timeout if timeout is None else timeout)
        while stream not in self._answers:
            self._read(end - time.monotonic())
        return self._answers.pop(stream)

    def wait_closed(self, timeout: float | None = None) -> None:
        """Wait until the plugin closes. What it sends before is still checked."""
        with contextlib.suppress(Gone):
            while True:
                self._read(self._runtime.timeout if timeout is None else timeout)

    # -- bytes

    def send(self, data: bytes) -> None:
        """Send any bytes, sound or not. Raises Gone when the plugin has closed."""
        try:
            self._sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            raise Gone("the plugin has closed the connection") from None
        self.sent += data

    def close(self) -> None:
        """Close the connection, as a runtime that dies."""
        self._sock.close()

    def _payload(self, stream: int, what: str) -> bytes:
        try:
            answer = self.wait(stream, self._runtime.request_timeout)
        except TimeoutError:
            raise self._misbehaved(f"plugin failed to handle {what} in {self._runtime.request_timeout} s") from None
        if answer.payload is None:
            raise CallRefused(answer.status)
        return answer.payload

    def _misbehaved(self, why: str) -> Misbehaved:
        self.close()
        return Misbehaved(why)

    def _read(self, timeout: float) -> None:
        if timeout <= 0:
            raise TimeoutError("the plugin has not answered in time")
        self._sock.settimeout(timeout)
        try:
            data = self._sock.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        finally:
            self._sock.settimeout(self._runtime.timeout)
        if not data:
            raise Gone("the plugin has closed the connection")
        for event in self._link.receive(data):
            if isinstance(event, AnswerReceived):
                self._answers[event.stream] = Answer(event.payload, event.status)
            elif isinstance(event, UnreadableCallReceived):
                raise self._misbehaved(f"a call that cannot be read: {event.detail}")
            else:
                self._calls.append(event)
