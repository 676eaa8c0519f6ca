"""The fake runtime does to a misbehaving plugin what containerd does."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Self

import pytest

from nri_cdi.nri import Event, Plugin, Runner, api
from nri_cdi.nri.events import RUNTIME_SERVICE
from nri_cdi.testing.runtime import FakeRuntime, Gone, Misbehaved
from nri_cdi.ttrpc import CallReceived, Link, RemoteProtocolError

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable
    from types import TracebackType

    from google.protobuf.message import Message

POD = api.PodSandbox(id="p")
CONTAINER = api.Container(id="c")


class BarePlugin:
    """A plugin that answers each call with the next of the given answers, right or wrong, from a thread of its own."""

    def __init__(self, path: pathlib.Path, *answers: Message | str | None) -> None:
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.connect(str(path))
        self._link, self._answers = Link(), list(answers)
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        _, data = self._link.call(RUNTIME_SERVICE, "RegisterPlugin", b"")
        self._sock.sendall(data)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._sock.close()

    def _run(self) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while data := self._sock.recv(65536):
                for event in self._link.receive(data):
                    if isinstance(event, CallReceived):
                        self._answer(event.stream)

    def _answer(self, stream: int) -> None:
        answer = self._answers.pop(0)
        if isinstance(answer, str):
            self._sock.sendall(self._link.refuse(stream, 2, answer))
        elif answer is not None:
            self._sock.sendall(self._link.answer(stream, answer.SerializeToString()))


CONFIGURED = api.ConfigureResponse(events=0x28)
SYNCHRONIZED = api.SynchronizeResponse()
PART = api.SynchronizeResponse(more=True)


@pytest.mark.parametrize(
    ("version", "answers", "why"),
    [
        ("1.7.24", [api.ConfigureResponse(events=0x2008)], "invalid plugin events: 0x2008"),
        ("2.1.9", [api.ConfigureResponse(events=0x800)], "invalid plugin events"),
        ("2.4.2", [api.ConfigureResponse(events=0x4000)], "invalid plugin events: 0x4000"),
        ("2.1.9", ["not today"], "failed to configure plugin: UNKNOWN: not today"),
        ("2.1.9", [CONFIGURED, SYNCHRONIZED], "not echoed"),
        ("2.1.9", [CONFIGURED, PART, PART], "not echoed"),
        ("2.1.9", [CONFIGURED, "not now"], "failed to synchronize plugin: UNKNOWN: not now"),
        (
            "2.1.9",
            [CONFIGURED, api.SynchronizeResponse(more=True, update=[api.ContainerUpdate()])],
            "updates before the last part",
        ),
        ("2.1.9", [CONFIGURED, PART, SYNCHRONIZED, None], "failed to handle CreateContainer"),
    ],
)
def test_a_plugin_that_misbehaves_loses_its_connection(
    socket_path: pathlib.Path, version: str, answers: list[Message | str | None], why: str
) -> None:
    with (
        FakeRuntime(socket_path, version, request_timeout=0.2) as runtime,
        BarePlugin(socket_path, *answers),
    ):
        link = runtime.accept()
        link.register()
        with pytest.raises(Misbehaved, match=why):  # noqa: PT012  # one of the steps
            link.configure()
            link.synchronize([POD], [CONTAINER], parts=2)
            link.create_container(POD, CONTAINER)
        with pytest.raises((Gone, OSError)):
            link.send(b"x")


def test_the_newest_runtime_takes_the_newest_events(socket_path: pathlib.Path) -> None:
    with (
        FakeRuntime(socket_path, "2.4.2") as runtime,
        BarePlugin(socket_path, api.ConfigureResponse(events=0x3FFF), SYNCHRONIZED),
    ):
        runtime.connect()


@pytest.mark.parametrize(
    ("version", "event", "method"),
    [
        ("1.7.24", Event.START_CONTAINER, "StateChange"),
        ("2.2.1", Event.RUN_POD_SANDBOX, "StateChange"),
        ("2.2.1", Event.UPDATE_POD_SANDBOX, "UpdatePodSandbox"),
        ("2.3.7", Event.START_CONTAINER, "StartContainer"),
        ("2.4.2", Event.RUN_POD_SANDBOX, "RunPodSandbox"),
        ("1.7.24", Event.CREATE_CONTAINER, "CreateContainer"),
        ("1.7.24", Event.STOP_CONTAINER, "StopContainer"),
    ],
)
def test_events_take_the_form_of_the_runtimes_version(
    socket_path: pathlib.Path, serve: Callable[[Plugin], Runner], version: str, event: Event, method: str
) -> None:
    plugin = Plugin()
    plugin.events = frozenset(Event)
    with FakeRuntime(socket_path, version) as runtime:
        serve(plugin)
        link = runtime.connect()
        assert link.encoded(event, POD, CONTAINER)[0] == method
        assert link.event(event, POD, CONTAINER) == b""


def test_configuration_has_the_fields_of_the_runtimes_version(socket_path: pathlib.Path) -> None:
    seen = []
    for version in ("1.7.24", "2.1.9", "2.4.2"):
        with FakeRuntime(socket_path, version) as runtime:
            said = runtime.configuration("some: text")
            seen.append((said.runtime_name, said.config, said.request_timeout, said.NRI_version))
    assert seen == [
        ("containerd", "some: text", 0, ""),
        ("containerd", "some: text", 2000, ""),
        ("containerd", "some: text", 2000, "v0.12.3"),
    ]


def test_a_second_answer_to_a_call_is_found(socket_path: pathlib.Path) -> None:
    with (
        FakeRuntime(socket_path) as runtime,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock,
    ):
        sock.connect(str(socket_path))
        link, plugin = runtime.accept(), Link()
        stream = link.begin("Configure", b"")
        plugin.receive(sock.recv(65536))
        answer = plugin.answer(stream, b"")
        sock.sendall(answer)
        assert link.wait(stream).payload == b""
        sock.sendall(answer)
        with pytest.raises(RemoteProtocolError, match="no call is pending"):
            link.wait_closed()


def test_waiting_for_a_plugin_that_does_nothing_ends(socket_path: pathlib.Path) -> None:
    with FakeRuntime(socket_path, timeout=0.05) as runtime, socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(socket_path))
        link = runtime.accept()
        with pytest.raises(TimeoutError):
            link.register()
        with pytest.raises(TimeoutError):
            runtime.accept()
