"""The runner on real sockets: connecting, the handshake, losing the connection in every way."""
# ruff: noqa: ARG002  # plugins override methods whose arguments they do not need

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, NoReturn

import pytest

from nri_cdi.nri import Event, Plugin, Refused, Runner, api
from nri_cdi.nri.words import why_not_connected
from nri_cdi.testing.runtime import CallRefused, FakeRuntime, Gone, Misbehaved
from nri_cdi.ttrpc import Code

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Sequence

    from nri_cdi.nri import Runtime

    Serve = Callable[[Plugin], Runner]
    Logged = Callable[[str], list[str]]

POD = api.PodSandbox(id="p")
CONTAINER = api.Container(id="c", name="c")


class Labels(Plugin):
    """Adds an annotation, and remembers what it was told."""

    events = frozenset({Event.CREATE_CONTAINER, Event.START_CONTAINER})

    def __init__(self) -> None:
        self.runtimes: list[Runtime] = []
        self.pods: list[str] = []
        self.started: list[str] = []

    def configure(self, runtime: Runtime) -> None:
        self.runtimes.append(runtime)

    def synchronize(
        self, pods: Sequence[api.PodSandbox], containers: Sequence[api.Container], *, more: bool
    ) -> Sequence[api.ContainerUpdate]:
        self.pods += [pod.id for pod in pods]
        return [api.ContainerUpdate(container_id=container.id) for container in containers]

    def create_container(self, request: api.CreateContainerRequest) -> api.CreateContainerResponse:
        return api.CreateContainerResponse(adjust=api.ContainerAdjustment(annotations={"by": "labels"}))

    def state_change(self, event: Event, pod: api.PodSandbox, container: api.Container) -> None:
        self.started.append(container.id)


@pytest.fixture
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nri_cdi.nri.shell._FAILED_PAUSES", (0.0,))


# -- serving


@pytest.mark.parametrize("version", ["1.7.24", "1.7.27", "2.1.9", "2.2.1", "2.3.7", "2.4.2"])
def test_a_plugin_serves_every_containerd(serve: Serve, socket_path: pathlib.Path, version: str) -> None:
    plugin = Labels()
    with FakeRuntime(socket_path, version) as runtime:
        runner = serve(plugin)
        link = runtime.connect([POD])
        assert runner.synchronized
        assert (plugin.runtimes[0].version, plugin.runtimes[0].nri, plugin.pods) == (version, runtime.nri, ["p"])
        assert link.create_container(POD, CONTAINER).adjust.annotations == {"by": "labels"}
        link.start_container(POD, CONTAINER)
        link.start_container(POD, CONTAINER, form="rpc")
        link.start_container(POD, CONTAINER, form="state-change")
        link.shutdown()
    assert plugin.started == ["c", "c", "c"]


def test_a_large_state_comes_in_parts_and_the_updates_go_with_the_last(serve: Serve, runtime: FakeRuntime) -> None:
    plugin = Labels()
    serve(plugin)
    link = runtime.accept()
    link.register()
    link.configure()
    pods = [api.PodSandbox(id=str(number)) for number in range(7)]
    updates = link.synchronize(pods, [api.Container(id="a"), api.Container(id="b")], parts=2)
    assert [update.container_id for update in updates] == ["b"]
    assert sorted(plugin.pods) == [pod.id for pod in pods]


def test_configure_may_come_before_the_answer_to_the_registration(serve: Serve, runtime: FakeRuntime) -> None:
    runner = serve(Labels())
    link = runtime.accept()
    stream, _ = link.expect_registration()
    link.configure()
    link.answer_registration(stream)
    link.synchronize()
    assert runner.synchronized


class Faulty(Labels):
    """Raises what it is told to in the methods that it is told."""

    def __init__(self, error: BaseException, *methods: str) -> None:
        super().__init__()
        self.error, self.methods = error, set(methods)
        for method in methods:
            setattr(self, method, self._raise)

    def _raise(self, *_: object, **__: object) -> NoReturn:
        raise self.error

    def heal(self) -> None:
        for method in self.methods:
            delattr(self, method)


@pytest.mark.parametrize("error", [ValueError("boom"), SystemExit(1), Refused("boom", Code.NOT_FOUND)])
@pytest.mark.parametrize("method", ["concerns", "create_container", "state_change"])
def test_whatever_a_handler_raises_is_answered_and_the_connection_stays(
    serve: Serve, runtime: FakeRuntime, error: BaseException, method: str
) -> None:
    plugin = Faulty(error, method)
    serve(plugin)
    link = runtime.connect()
    ask = link.start_container if method == "state_change" else link.create_container
    for _ in range(3):
        with pytest.raises(CallRefused, match=r"boom|SystemExit"):
            ask(POD, CONTAINER)
    plugin.heal()
    ask(POD, CONTAINER)


def test_an_unexpected_error_of_a_handler_is_logged_and_a_refusal_is_not(
    serve: Serve, runtime: FakeRuntime, logged: Logged
) -> None:
    serve(Faulty(ValueError("boom"), "create_container"))
    link = runtime.connect()
    with pytest.raises(CallRefused):
        link.create_container(POD, CONTAINER)
    assert sum("boom" in line for line in logged("CREATE_CONTAINER was refused")) == 1


def test_an_answer_over_the_limit_is_refused_and_the_connection_stays(serve: Serve, runtime: FakeRuntime) -> None:
    plugin = Labels()
    huge = api.CreateContainerResponse(adjust=api.ContainerAdjustment(annotations={"k": "v" * (5 << 20)}))
    plugin.create_container = lambda _: huge  # type: ignore[method-assign,assignment]  # this one answers too much
    serve(plugin)
    link = runtime.connect()
    with pytest.raises(CallRefused, match="too large"):
        link.create_container(POD, CONTAINER)
    link.start_container(POD, CONTAINER)


# -- connecting


def test_the_same_plugin_serves_one_runtime_after_the_other(serve: Serve, socket_path: pathlib.Path) -> None:
    plugin = Labels()
    serve(plugin)
    for version in ("1.7.24", "2.1.9", "2.4.2") * 3:
        with FakeRuntime(socket_path, version) as runtime:
            runtime.connect().create_container(POD, CONTAINER)
    assert [seen.version for seen in plugin.runtimes] == ["1.7.24", "2.1.9", "2.4.2"] * 3


def test_a_socket_that_is_missing_then_dead_then_there_is_connected(
    serve: Serve, socket_path: pathlib.Path, logged: Logged
) -> None:
    runner = serve(Labels())
    logged("it is not there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(socket_path))
    logged("nobody listens")
    assert not runner.synchronized
    assert "nobody listens" in runner.standing
    with FakeRuntime(socket_path) as runtime:
        runtime.connect()
        lines = logged("synchronized with containerd 1.7.24 (NRI 0.6.1) as 10-labels")
    assert len(lines) == len(set(lines)) == 3


def test_a_state_is_logged_once_however_often_it_is_found(socket_path: pathlib.Path, logged: Logged) -> None:
    tries, many = 0, threading.Event()

    def clock() -> float:  # it is read at each try
        nonlocal tries
        tries += 1
        if tries > 30:
            many.set()
        return time.monotonic()

    runner = Runner(Labels(), str(socket_path), "labels", "10", clock=clock)
    thread = threading.Thread(target=runner.run)
    thread.start()
    assert many.wait(5)
    runner.stop()
    thread.join(5)
    assert sum("it is not there" in line for line in logged("it is not there")) == 1


@pytest.mark.usefixtures("_no_pauses")
def test_a_refused_registration_is_tried_again_and_said_once(
    serve: Serve, runtime: FakeRuntime, logged: Logged
) -> None:
    serve(Labels())
    for _ in range(5):
        link = runtime.accept()
        link.refuse_registration("invalid plugin index")
        link.wait_closed()
    runtime.connect()
    lines = logged("synchronized with")
    assert [line for line in lines if "refused to register" in line] == [
        "the runtime refused to register 10-labels: invalid plugin index; trying again"
    ]
    assert len(lines) == 2


@pytest.mark.usefixtures("_no_pauses")
@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_runtime_that_falls_silent_is_left_and_said_once(
    serve: Serve, runtime: FakeRuntime, logged: Logged, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    monkeypatch.setattr("nri_cdi.nri.session.REGISTRATION_TIMEOUT", 0.05)
    runner = serve(Labels())
    for _ in range(2):
        link = runtime.accept()
        if steps == 0:
            link.expect_registration()
        for step in (link.register, link.configure)[:steps]:
            step()
        link.wait_closed()
    monkeypatch.setattr("nri_cdi.nri.session.REGISTRATION_TIMEOUT", 5.0)
    while not runner.synchronized:  # one more connection may have been made with the short timeout
        with contextlib.suppress(Gone):
            runtime.connect()
    lines = logged("synchronized with")
    assert sum("fell silent" in line for line in lines) == 1
    assert len(lines) == 2


def test_a_lost_connection_is_said_with_how_far_it_had_come(
    serve: Serve, socket_path: pathlib.Path, logged: Logged
) -> None:
    serve(Labels())
    with FakeRuntime(socket_path) as runtime:
        runtime.connect()
    logged("lost: the runtime closed the connection")
    with FakeRuntime(socket_path) as runtime:
        runtime.accept().register()
    logged("lost before it was synchronized: the runtime closed the connection")


def recorded_handshake(socket_path: pathlib.Path) -> bytes:
    """What a runtime sends from the answer to the registration to a first CreateContainer."""
    runner = Runner(Labels(), str(socket_path), "labels", "10")
    with FakeRuntime(socket_path, "2.1.9") as runtime:
        thread = threading.Thread(target=runner.run)
        thread.start()
        link = runtime.connect([POD])
        link.create_container(POD, CONTAINER)
    runner.stop()
    thread.join(5)
    socket_path.unlink()
    return bytes(link.sent)


@pytest.mark.usefixtures("_no_pauses")
@pytest.mark.parametrize("behind", [b"", b"\xff" * 8192, b"\x00" * 8192], ids=["nothing", "ones", "zeros"])
def test_whatever_byte_the_runtime_breaks_off_at_the_plugin_connects_again(
    serve: Serve, socket_path: pathlib.Path, behind: bytes
) -> None:
    handshake = recorded_handshake(socket_path)
    plugin = Labels()
    runtime = FakeRuntime(socket_path)
    runtime.close(unlink=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(socket_path))
        listener.listen(8)
        listener.settimeout(5)
        serve(plugin)
        for end in range(len(handshake) + 1):
            peer, _ = listener.accept()
            with peer:
                peer.settimeout(5)
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    peer.sendall(handshake[:end] + behind)
                    while behind and peer.recv(65536):  # the plugin is the one that closes
                        pass
    runtime.listen()
    with runtime:
        runtime.connect().create_container(POD, CONTAINER)


def test_a_runtime_that_does_not_read_is_left(
    serve: Serve, runtime: FakeRuntime, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nri_cdi.nri.connection.SEND_TIMEOUT", struct.pack("ll", 0, 50_000))
    plugin = Labels()
    large = api.CreateContainerResponse(adjust=api.ContainerAdjustment(annotations={"k": "v" * (2 << 20)}))
    plugin.create_container = lambda _: large  # type: ignore[method-assign,assignment]  # more than a socket holds
    serve(plugin)
    link = runtime.connect()
    link.begin(*link.encoded(Event.CREATE_CONTAINER, POD, CONTAINER))
    logged("lost: the runtime does not read what it is sent")
    runtime.connect()


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (FileNotFoundError(2, "No such file or directory"), "NRI enabled"),
        (ConnectionRefusedError(111, "Connection refused"), "down or restarting"),
        (PermissionError(13, "Permission denied"), "takes root"),
        (BlockingIOError(11, "Resource temporarily unavailable"), "hangs"),
        (OSError("AF_UNIX path too long"), "AF_UNIX path too long"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_why_there_is_no_connection_is_said_for_people(error: OSError, says: str) -> None:
    text = why_not_connected("/var/run/nri/nri.sock", error)
    assert text.startswith("waiting for the NRI socket /var/run/nri/nri.sock: ")
    assert says in text


# -- what fails in the handshake


@pytest.mark.usefixtures("_no_pauses")
@pytest.mark.parametrize("method", ["configure", "synchronize"])
def test_a_plugin_that_raises_in_the_handshake_is_answered_for_said_once_and_tried_again(
    serve: Serve, runtime: FakeRuntime, logged: Logged, method: str
) -> None:
    plugin = Faulty(ValueError("boom"), method)
    serve(plugin)
    for _ in range(3):
        link = runtime.accept()
        link.register()
        with pytest.raises(Misbehaved, match="internal error: ValueError: boom"):  # noqa: PT012  # either step
            link.configure()
            link.synchronize()
    plugin.heal()
    with contextlib.suppress(Misbehaved):  # the connection that was made before it healed, perhaps
        runtime.connect()
        lines = logged("synchronized with")
        assert sum("boom" in line for line in lines) == 1


def test_a_runtime_that_knows_none_of_the_events_is_told_so(serve: Serve, runtime: FakeRuntime, logged: Logged) -> None:
    plugin = Labels()
    plugin.events = frozenset({Event.VALIDATE_CONTAINER_ADJUSTMENT})
    serve(plugin)
    link = runtime.accept()
    link.register()
    with pytest.raises(Misbehaved, match="none of the plugin's events is known"):
        link.configure()
    logged("none of the plugin's events is known to this runtime (containerd 1.7.24, NRI 0.6.1)")
