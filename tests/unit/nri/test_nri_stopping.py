"""The runner's end: stopped in every state, and by a bug of our own."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, NoReturn

import pytest

from nri_cdi.nri import Event, Plugin, Runner, Session, api
from nri_cdi.testing.runtime import FakeRuntime, Gone

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Iterator

    Serve = Callable[[Plugin], Runner]
    Logged = Callable[[str], list[str]]

POD = api.PodSandbox(id="p")
CONTAINER = api.Container(id="c", name="c")
SECOND = 1.0


class Labels(Plugin):
    """Adds an annotation."""

    events = frozenset({Event.CREATE_CONTAINER})

    def create_container(self, request: api.CreateContainerRequest) -> api.CreateContainerResponse:
        by = f"labels for {request.container.name}"
        return api.CreateContainerResponse(adjust=api.ContainerAdjustment(annotations={"by": by}))


@pytest.fixture
def listener(socket_path: pathlib.Path) -> Iterator[socket.socket]:
    """A peer that speaks no protocol."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(socket_path))
        listener.listen(8)
        listener.settimeout(5)
        yield listener


def stops(runner: Runner) -> None:
    """Stop, and see that `run` returns within a second and leaves no thread that serves."""
    runner.stop()
    end = time.monotonic() + SECOND
    for thread in threading.enumerate():
        if thread.name.startswith("nri-"):
            thread.join(end - time.monotonic())
            assert not thread.is_alive()


def test_a_runner_stops_while_there_is_no_socket(serve: Serve, logged: Logged) -> None:
    runner = serve(Labels())
    logged("it is not there")
    stops(runner)


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_a_runner_stops_at_every_step_of_the_handshake(serve: Serve, runtime: FakeRuntime, steps: int) -> None:
    runner = serve(Labels())
    link = runtime.accept()
    for step in (link.register, link.configure, link.synchronize)[:steps]:
        step()
    stops(runner)
    link.wait_closed()


def test_a_runner_that_was_stopped_before_does_not_run(socket_path: pathlib.Path) -> None:
    runner = Runner(Labels(), str(socket_path), "labels", "10")
    runner.stop()
    runner.run()
    assert repr(runner) == "<Runner 10-labels not connected>"


def test_a_runner_stops_while_a_runtime_does_not_accept(
    serve: Serve, listener: socket.socket, socket_path: pathlib.Path, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nri_cdi.nri.connection.SEND_TIMEOUT", struct.pack("ll", 0, 50_000))
    listener.listen(0)
    with contextlib.ExitStack() as waiting:
        with contextlib.suppress(BlockingIOError):
            while True:
                other = waiting.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
                other.settimeout(0)
                other.connect(str(socket_path))
        runner = serve(Labels())
        logged("nobody accepts")  # one try has ended
        stops(runner)


class Slow(Labels):
    """Waits in create_container until the test lets it go on."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.go_on = threading.Event(), threading.Event()

    def create_container(self, request: api.CreateContainerRequest) -> api.CreateContainerResponse:
        self.entered.set()
        assert self.go_on.wait(5)
        return super().create_container(request)


def test_what_has_been_asked_before_the_stop_is_answered_first(serve: Serve, runtime: FakeRuntime) -> None:
    plugin = Slow()
    runner = serve(plugin)
    link = runtime.connect()
    streams = [link.begin(*link.encoded(Event.CREATE_CONTAINER, POD, CONTAINER), timeout=5) for _ in range(3)]
    assert plugin.entered.wait(5)
    runner.stop()
    plugin.go_on.set()
    answers = [link.wait(stream) for stream in streams]
    assert all(answer.payload for answer in answers)
    link.wait_closed()


# -- bugs of our own


@pytest.mark.parametrize(("method", "thread"), [("receive", "serving"), ("tick", "watchdog"), ("open", "serving")])
@pytest.mark.usefixtures("logged")
def test_a_bug_of_ours_that_ends_a_thread_is_fatal_and_ends_the_runner(
    socket_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, method: str, thread: str
) -> None:
    def bug(*_: object) -> NoReturn:
        raise AssertionError(f"a bug in the {thread} thread")

    monkeypatch.setattr(Session, method, bug)
    monkeypatch.setattr("nri_cdi.nri.session.REGISTRATION_TIMEOUT", 0.05)
    reasons: list[str] = []
    with FakeRuntime(socket_path) as runtime:
        runner = Runner(Labels(), str(socket_path), "labels", "10", fatal=reasons.append)
        running = threading.Thread(target=runner.run)
        running.start()
        link = runtime.accept()
        with contextlib.suppress(Gone):
            link.expect_registration()
            if method == "receive":
                link.send(b"anything")
        running.join(5)
        assert not running.is_alive()
        link.wait_closed()
    assert reasons == [f"a thread of the NRI plugin ended: AssertionError: a bug in the {thread} thread"]
