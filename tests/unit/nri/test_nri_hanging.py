"""A plugin that hangs: refused in time in its place, others served meanwhile, and all is well when it comes back."""
# ruff: noqa: ARG002  # plugins override methods whose arguments they do not need

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from nri_cdi.nri import Event, Plugin, Refused, Runner, State, api
from nri_cdi.testing.runtime import Answer, CallRefused, FakeRuntime, Gone, PluginLink
from nri_cdi.ttrpc import Code, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from nri_cdi.nri import Runtime

    Serve = Callable[[Plugin], Runner]
    Logged = Callable[[str], list[str]]

POD = api.PodSandbox(id="p")
HANGS = api.Container(id="ours-hangs")
OURS = api.Container(id="ours")
FOREIGN = api.Container(id="foreign")
AT_ONCE = 2.0
"""Seconds: under the own deadline of a request that allows LONG, so that no watchdog can have answered it."""
LONG = 20.0
QUICK = 0.1
"""What the requests allow that are meant to hang."""


class Gate:
    """Where a method hangs until the test opens it."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()
        self.threads: list[threading.Thread] = []

    def hang(self) -> None:
        self.threads.append(threading.current_thread())
        self.reached.set()
        assert self.opened.wait(20)

    def open(self) -> None:
        """Let go, and wait until the runner has taken note: its thread ends."""
        self.opened.set()
        for thread in self.threads:
            thread.join(5)
            assert not thread.is_alive()


class Hanging(Plugin):
    """Concerns itself with containers of ours; hangs where a gate is named."""

    events = frozenset({Event.CREATE_CONTAINER, Event.START_CONTAINER})

    def __init__(self, **gates: Gate) -> None:
        self.gates = gates
        self.decided: list[str] = []
        self.configured = 0

    def _pass(self, method: str) -> None:
        if method in self.gates:
            self.gates[method].hang()

    def concerns(self, event: Event, payload: bytes, *, state_change: bool) -> bool:
        return b"ours" in payload

    def configure(self, runtime: Runtime) -> None:
        self.configured += 1
        self._pass("configure")

    def synchronize(
        self, pods: Sequence[api.PodSandbox], containers: Sequence[api.Container], *, more: bool
    ) -> Sequence[api.ContainerUpdate]:
        self._pass("synchronize")
        return ()

    def create_container(self, request: api.CreateContainerRequest) -> api.CreateContainerResponse:
        self.decided.append(request.container.id)
        if request.container.id == HANGS.id:
            self._pass("create")
        return api.CreateContainerResponse(adjust=api.ContainerAdjustment(annotations={"by": "us"}))

    def state_change(self, event: Event, pod: api.PodSandbox, container: api.Container) -> None:
        self.decided.append(container.id)

    def overdue(self, event: Event, payload: bytes, *, state_change: bool) -> Refused:
        self._pass("overdue")
        return Refused("a disk hangs", Code.DEADLINE_EXCEEDED)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.opened.set()


def create(link: PluginLink, container: api.Container) -> Answer:
    """The answer to a CreateContainer that may take long; it has to come at once."""
    stream = link.begin(*link.encoded(Event.CREATE_CONTAINER, POD, container), timeout=LONG)
    return link.wait(stream, AT_ONCE)


def hang(link: PluginLink, timeout: float = QUICK) -> None:
    """A CreateContainer whose handler hangs: refused."""
    stream = link.begin(*link.encoded(Event.CREATE_CONTAINER, POD, HANGS), timeout=timeout)
    assert link.wait(stream).status == Status(Code.DEADLINE_EXCEEDED, "a disk hangs")


def test_a_request_whose_handler_hangs_is_refused_before_the_runtimes_timeout(
    serve: Serve, runtime: FakeRuntime, gate: Gate, logged: Logged
) -> None:
    runner = serve(Hanging(create=gate))
    link = runtime.connect()
    runtime.request_timeout = 1.0
    with pytest.raises(CallRefused, match="DEADLINE_EXCEEDED: a disk hangs"):  # not Misbehaved: in time
        link.create_container(POD, HANGS)
    assert runner.stuck == 1
    assert runner.synchronized
    logged("has not come back from CREATE_CONTAINER in time")


def test_a_short_timeout_holds_also_right_after_a_long_one(serve: Serve, runtime: FakeRuntime, gate: Gate) -> None:
    serve(Hanging(create=gate))
    link = runtime.connect()
    assert create(link, OURS).payload  # the watchdog sleeps for this one now
    stream = link.begin(*link.encoded(Event.CREATE_CONTAINER, POD, HANGS), timeout=QUICK)
    assert link.wait(stream, AT_ONCE).status.code == Code.DEADLINE_EXCEEDED


def test_meanwhile_what_does_not_concern_the_plugin_is_answered_and_what_does_is_refused_at_once(
    serve: Serve, runtime: FakeRuntime, gate: Gate
) -> None:
    plugin = Hanging(create=gate)
    serve(plugin)
    link = runtime.connect()
    hang(link)
    for _ in range(3):
        assert create(link, FOREIGN) == Answer(b"", create(link, FOREIGN).status)
        assert create(link, OURS).status.message == "a disk hangs"
    assert plugin.decided == [HANGS.id]


def test_when_the_handler_comes_back_its_answer_is_dropped_and_service_is_as_before(
    serve: Serve, runtime: FakeRuntime, gate: Gate
) -> None:
    plugin = Hanging(create=gate)
    runner = serve(plugin)
    link = runtime.connect()
    hang(link)
    gate.open()
    assert runner.stuck == 0
    for _ in range(3):  # a second answer to the first one would end the link
        assert link.create_container(POD, OURS).adjust.annotations == {"by": "us"}
        link.start_container(POD, OURS)


def test_it_may_hang_again_and_again(serve: Serve, runtime: FakeRuntime) -> None:
    plugin = Hanging()
    runner = serve(plugin)
    link = runtime.connect()
    for _ in range(5):
        gate = plugin.gates["create"] = Gate()
        hang(link)
        gate.open()
        assert runner.stuck == 0
        assert create(link, OURS).payload


def test_requests_that_wait_behind_a_hanging_handler_are_answered_each_once(
    serve: Serve, runtime: FakeRuntime, gate: Gate
) -> None:
    serve(Hanging(create=gate))
    link = runtime.connect()
    containers = [HANGS, OURS, FOREIGN, OURS, FOREIGN]
    streams = [
        link.begin(*link.encoded(Event.CREATE_CONTAINER, POD, container), timeout=timeout)
        for container, timeout in zip(containers, [QUICK, LONG, LONG, QUICK, LONG], strict=True)
    ]
    answers = [link.wait(stream, AT_ONCE) for stream in streams]
    deadline = Code.DEADLINE_EXCEEDED
    assert [answer.status.code for answer in answers] == [deadline, deadline, Code.OK, deadline, Code.OK]
    gate.open()
    assert create(link, OURS).payload


def test_a_connection_that_is_lost_while_a_handler_hangs_is_made_again_beside_it(
    serve: Serve, runtime: FakeRuntime, gate: Gate
) -> None:
    plugin = Hanging(create=gate)
    runner = serve(plugin)
    link = runtime.connect()
    hang(link)
    link.close()
    link = runtime.connect()
    assert create(link, FOREIGN).payload == b""
    assert create(link, OURS).payload is None
    gate.open()
    assert runner.stuck == 0
    assert create(link, OURS).payload
    assert runner.synchronized


def test_a_runtime_that_goes_while_the_handler_is_at_work_is_found_again(
    serve: Serve, runtime: FakeRuntime, gate: Gate
) -> None:
    serve(Hanging(create=gate))
    link = runtime.connect()
    link.begin(*link.encoded(Event.CREATE_CONTAINER, POD, HANGS), timeout=LONG)
    assert gate.reached.wait(5)
    link.close()
    gate.opened.set()  # in time, but nobody is there to hear it
    assert create(runtime.connect(), OURS).payload


def test_the_plugins_words_for_an_overdue_request_may_fail_too(serve: Serve, runtime: FakeRuntime, gate: Gate) -> None:
    plugin = Hanging(create=gate)

    def overdue(*_: object, **__: object) -> Refused:
        raise ValueError("no words")

    plugin.overdue = overdue  # type: ignore[method-assign,method-assign]  # this one fails
    serve(plugin)
    link = runtime.connect()
    stream = link.begin(*link.encoded(Event.CREATE_CONTAINER, POD, HANGS), timeout=QUICK)
    assert "no words" in link.wait(stream).status.message
    assert create(link, OURS).payload is None
    assert create(link, FOREIGN).payload == b""


def test_a_handler_that_comes_back_while_its_refusal_is_worded_has_answered(
    serve: Serve, runtime: FakeRuntime, gate: Gate
) -> None:
    words = Gate()
    runner = serve(Hanging(create=gate, overdue=words))
    link = runtime.connect()
    stream = link.begin(*link.encoded(Event.CREATE_CONTAINER, POD, HANGS), timeout=QUICK)
    assert words.reached.wait(5)
    gate.opened.set()
    assert link.wait(stream).payload
    words.opened.set()
    assert create(link, OURS).payload
    assert runner.stuck == 0


# -- the handshake


@pytest.mark.parametrize("step", ["configure", "synchronize"])
def test_a_step_that_hangs_is_refused_in_time_and_not_tried_again_before_it_comes_back(
    serve: Serve, runtime: FakeRuntime, gate: Gate, logged: Logged, step: str
) -> None:
    plugin = Hanging(**{step: gate})
    runner = serve(plugin)
    link = runtime.accept()
    link.register()
    if step == "synchronize":
        link.configure()
    stream = link.begin(step.capitalize(), b"", timeout=QUICK)
    assert "did not finish" in link.wait(stream).status.message
    link.wait_closed()
    logged("the plugin hangs in")
    assert (runner.stuck, runner.synchronized, plugin.configured) == (1, False, 1)
    gate.open()
    link = runtime.connect()
    assert create(link, OURS).payload
    assert plugin.configured == 2


def test_two_methods_may_hang_at_once(serve: Serve, runtime: FakeRuntime, gate: Gate, logged: Logged) -> None:
    step = Gate()
    plugin = Hanging(create=gate)
    runner = serve(plugin)
    link = runtime.connect()
    hang(link)
    plugin.gates["synchronize"] = step
    link.close()
    link = runtime.accept()
    link.register()
    link.configure()
    link.begin("Synchronize", b"", timeout=QUICK)
    link.wait_closed()
    logged("the plugin hangs in Synchronize")
    assert runner.stuck == 2
    step.open()
    link = runtime.connect()
    assert runner.stuck == 1
    assert create(link, OURS).payload is None
    gate.open()
    assert runner.stuck == 0
    assert create(link, OURS).payload


# -- stopping


@pytest.mark.parametrize("method", ["create", "configure", "synchronize"])
def test_a_runner_stops_although_a_method_hangs_for_ever(
    serve: Serve, runtime: FakeRuntime, gate: Gate, method: str
) -> None:
    runner = serve(Hanging(**{method: gate}))
    link = runtime.accept()
    link.register()
    calls = {
        "configure": ("Configure", runtime.configuration().SerializeToString()),
        "synchronize": ("Synchronize", b""),
        "create": link.encoded(Event.CREATE_CONTAINER, POD, HANGS),
    }
    codes = []
    for name, (rpc, payload) in calls.items():
        stream = link.begin(rpc, payload, timeout=QUICK if name == method else LONG)
        codes.append(link.wait(stream).status.code)
        if name == method:
            break
    assert codes.pop() == Code.DEADLINE_EXCEEDED
    assert set(codes) <= {Code.OK}
    runner.stop()
    running = next(thread for thread in threading.enumerate() if thread.name == "nri-run")
    running.join(1)
    assert not running.is_alive()


def test_a_runner_that_is_stopped_while_a_handler_hangs_still_refuses_in_time(
    serve: Serve, runtime: FakeRuntime, gate: Gate
) -> None:
    runner = serve(Hanging(create=gate))
    link = runtime.connect()
    stream = link.begin(*link.encoded(Event.CREATE_CONTAINER, POD, HANGS), timeout=QUICK)
    assert gate.reached.wait(5)
    runner.stop()
    assert link.wait(stream, AT_ONCE).status.code == Code.DEADLINE_EXCEEDED
    with pytest.raises(Gone):
        link.wait(stream)
    assert State.READY.value not in repr(runner)
