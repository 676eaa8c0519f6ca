"""From an encoded request to the plugin's method: both forms of every event, and whatever a method may do wrong."""
# ruff: noqa: ARG002  # plugins override methods whose arguments they do not need

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import pytest
from google.protobuf.message import DecodeError

from nri_cdi.nri import Event, Plugin, Refused, Request, Step, api, dispatch
from nri_cdi.nri.events import METHODS, PLUGIN_SERVICE
from nri_cdi.ttrpc import Code

if TYPE_CHECKING:
    from collections.abc import Sequence


POD = api.PodSandbox(id="p1", name="pod")
CONTAINER = api.Container(id="c1", name="container")
OF_A_POD = frozenset(event for event in Event if "POD_SANDBOX" in event.name)
ADJUSTING = {
    Event.CREATE_CONTAINER: api.CreateContainerResponse(adjust=api.ContainerAdjustment(annotations={"k": "v"})),
    Event.UPDATE_CONTAINER: api.UpdateContainerResponse(update=[api.ContainerUpdate(container_id="c1")]),
    Event.STOP_CONTAINER: api.StopContainerResponse(update=[api.ContainerUpdate(container_id="c1")]),
    Event.VALIDATE_CONTAINER_ADJUSTMENT: api.ValidateContainerAdjustmentResponse(reject=True, reason="no"),
}


def request_of(event: Event, *, state_change: bool = False, payload: bytes | None = None) -> Request:
    if payload is None and state_change:
        change = api.StateChangeEvent(event=api.Event.Name(event), pod=POD)
        if event not in OF_A_POD:
            change.container.CopyFrom(CONTAINER)
        payload = change.SerializeToString()
    if payload is None:
        method = next(method for method, of in METHODS.items() if of is event)
        message = api.SERVICES[PLUGIN_SERVICE][method][0]()
        parts = {"pod": POD} if event in OF_A_POD else {"pod": POD, "container": CONTAINER}
        for name, part in parts.items():
            getattr(message, name).CopyFrom(part)
        payload = message.SerializeToString()
    return Request(1, event, payload, state_change, 0.0)


class Recorder(Plugin):
    """Notes what it is asked; answers what the table says."""

    events = frozenset(Event)

    def __init__(self) -> None:
        self.seen: list[tuple[Event, str, str]] = []

    def _note(self, event: Event, pod: api.PodSandbox, container: api.Container) -> None:
        self.seen.append((event, pod.id, container.id))

    def create_container(self, request: api.CreateContainerRequest) -> api.CreateContainerResponse:
        self._note(Event.CREATE_CONTAINER, request.pod, request.container)
        return ADJUSTING[Event.CREATE_CONTAINER]  # type: ignore[return-value]  # the table is of all kinds

    def update_container(self, request: api.UpdateContainerRequest) -> api.UpdateContainerResponse:
        self._note(Event.UPDATE_CONTAINER, request.pod, request.container)
        return ADJUSTING[Event.UPDATE_CONTAINER]  # type: ignore[return-value]  # as above

    def stop_container(self, request: api.StopContainerRequest) -> api.StopContainerResponse:
        self._note(Event.STOP_CONTAINER, request.pod, request.container)
        return ADJUSTING[Event.STOP_CONTAINER]  # type: ignore[return-value]  # as above

    def validate_container_adjustment(
        self, request: api.ValidateContainerAdjustmentRequest
    ) -> api.ValidateContainerAdjustmentResponse:
        self._note(Event.VALIDATE_CONTAINER_ADJUSTMENT, request.pod, request.container)
        return ADJUSTING[Event.VALIDATE_CONTAINER_ADJUSTMENT]  # type: ignore[return-value]  # as above

    def update_pod_sandbox(self, request: api.UpdatePodSandboxRequest) -> None:
        self._note(Event.UPDATE_POD_SANDBOX, request.pod, api.Container())

    def state_change(self, event: Event, pod: api.PodSandbox, container: api.Container) -> None:
        self._note(event, pod, container)


@pytest.mark.parametrize("event", Event)
def test_an_event_by_its_own_rpc_reaches_the_plugin_and_its_answer_the_runtime(event: Event) -> None:
    plugin = Recorder()
    answer = dispatch.handle(plugin, request_of(event))
    assert plugin.seen == [(event, "p1", "" if event in OF_A_POD else "c1")]
    assert answer == (ADJUSTING[event].SerializeToString() if event in ADJUSTING else b"")


@pytest.mark.parametrize("event", Event)
def test_an_event_as_a_state_change_reaches_the_plugin(event: Event) -> None:
    plugin = Recorder()
    assert dispatch.handle(plugin, request_of(event, state_change=True)) == b""
    assert plugin.seen == [(event, "p1", "" if event in OF_A_POD else "c1")]


@pytest.mark.parametrize("event", Event)
def test_a_plugin_that_overrides_nothing_answers_every_event_with_nothing(event: Event) -> None:
    assert dispatch.handle(Plugin(), request_of(event)) == b""
    assert dispatch.concerns(Plugin(), request_of(event))


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError


ERRORS = [
    ValueError("boom"),
    KeyError("key"),
    RecursionError(),
    MemoryError(),
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    Unprintable(),
    OSError(5, "Input/output error"),
]


METHODS_OF_A_PLUGIN = [name for name, value in vars(Plugin).items() if callable(value)]


class Raiser(Plugin):
    """Every method raises."""

    events = frozenset(Event)

    def __init__(self, error: BaseException) -> None:
        self.error = error
        for name in METHODS_OF_A_PLUGIN:
            setattr(self, name, self._raise)

    def _raise(self, *_: object, **__: object) -> NoReturn:
        raise self.error


STEPS = {Step.CONFIGURE: dispatch.configure, Step.SYNCHRONIZE: dispatch.synchronize}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_whatever_a_method_raises_becomes_a_refusal_that_names_it(error: BaseException) -> None:
    plugin = Raiser(error)
    for event in Event:
        for state_change in (False, True):
            request = request_of(event, state_change=state_change)
            for ask in (dispatch.handle, dispatch.concerns):
                with pytest.raises(dispatch.Unexpected, match=type(error).__name__) as refused:
                    ask(plugin, request)
                assert (refused.value.code, refused.value.__cause__) == (Code.INTERNAL, error)
            late = dispatch.too_late(plugin, request)
            assert late is not None
            assert type(error).__name__ in late.message
    for step, ask_step in STEPS.items():
        with pytest.raises(dispatch.Unexpected, match=type(error).__name__):
            ask_step(plugin, Request(1, step, b"", state_change=False, deadline=0.0))


def test_a_refusal_keeps_its_code_and_text() -> None:
    with pytest.raises(Refused, match=r"^no such device$") as refused:
        dispatch.handle(Raiser(Refused("no such device", Code.NOT_FOUND)), request_of(Event.CREATE_CONTAINER))
    assert (refused.value.code, type(refused.value)) == (Code.NOT_FOUND, Refused)


@pytest.mark.parametrize("code", [Code.OK, 17, -1, 1 << 40])
def test_a_refusal_that_could_not_be_sent_cannot_be_made(code: int) -> None:
    with pytest.raises(ValueError, match="no gRPC code of an error"):
        Refused("text", code)


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("state_change", [False, True])
def test_a_request_that_cannot_be_decoded_is_refused(event: Event, *, state_change: bool) -> None:
    plugin = Recorder()
    with pytest.raises(Refused, match="cannot be decoded") as refused:
        dispatch.handle(plugin, request_of(event, state_change=state_change, payload=b"\x12\x09a"))
    assert refused.value.code == Code.INVALID_ARGUMENT
    assert isinstance(refused.value.__cause__, DecodeError)
    assert plugin.seen == []


class Mistaken(Plugin):
    """Answers with the wrong kind of message."""

    events = frozenset(Event)

    def create_container(self, request: api.CreateContainerRequest) -> api.CreateContainerResponse:
        return api.ContainerAdjustment(annotations={"k": "v"})  # type: ignore[return-value]  # the mistake

    def synchronize(
        self, pods: Sequence[api.PodSandbox], containers: Sequence[api.Container], *, more: bool
    ) -> Sequence[api.ContainerUpdate]:
        return ["c1"]  # type: ignore[list-item]  # the mistake

    def overdue(self, event: Event, payload: bytes, *, state_change: bool) -> Refused:
        return "late"  # type: ignore[return-value]  # the mistake


def test_an_answer_of_the_wrong_kind_is_refused_and_not_sent_as_something_else() -> None:
    create = request_of(Event.CREATE_CONTAINER)
    with pytest.raises(dispatch.Unexpected, match="ContainerAdjustment, not CreateContainerResponse"):
        dispatch.handle(Mistaken(), create)
    with pytest.raises(dispatch.Unexpected, match="TypeError"):
        dispatch.synchronize(Mistaken(), Request(1, Step.SYNCHRONIZE, b"", state_change=False, deadline=0.0))
    late = dispatch.too_late(Mistaken(), create)
    assert late is not None
    assert "not Refused" in late.message


def test_a_runtime_that_knows_none_of_the_events_is_refused_before_the_plugin_hears_of_it() -> None:
    plugin = Raiser(AssertionError("not to be called"))
    plugin.events = frozenset({Event.VALIDATE_CONTAINER_ADJUSTMENT})
    payload = api.ConfigureRequest(runtime_name="containerd", runtime_version="1.7.24").SerializeToString()
    with pytest.raises(Refused, match=r"none of the plugin's events.*containerd 1\.7\.24, NRI 0\.6\.1"):
        dispatch.configure(plugin, Request(1, Step.CONFIGURE, payload, state_change=False, deadline=0.0))


@pytest.mark.parametrize("step", Step)
def test_a_step_that_took_too_long_is_refused_by_its_name(step: Step) -> None:
    refused = dispatch.too_late(Recorder(), Request(1, step, b"", state_change=False, deadline=0.0))
    assert refused is not None
    assert refused.code == Code.DEADLINE_EXCEEDED
    assert step.value in refused.message
