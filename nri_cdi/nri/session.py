"""One connection to a runtime as a state machine: bytes and the time in, requests and bytes out. No I/O.

    session = Session("nri-cdi", "10", events)
    session.open(now)
    for request in session.receive(data, now): ...        # RemoteProtocolError: the connection is to be closed
        session.answer(request.stream, payload)
    socket.send(session.data_to_send())

The runtime answers our registration, then calls Configure, Synchronize (perhaps in parts) and then events. A refused registration leaves the
connection open and silent, so silence has deadlines: `next_deadline()` says when `tick(now)` is to be called next. While we are at a
step of the handshake ourselves, the runtime's silence is no fault of its own: its time begins when our answer is due.

Every request has a deadline of its own, well under the runtime's. `tick` hands out what is overdue; whoever answers first, the
handler or the one who gave up on it, answers; what comes later is dropped. **Exactly one answer for each request.**
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError

from nri_cdi.ttrpc import (
    AnswerReceived,
    CallReceived,
    Code,
    Link,
    MessageTooLarge,
    RemoteProtocolError,
    UnreadableCallReceived,
    unimplemented,
)

from . import api
from .events import METHODS, PLUGIN_SERVICE, RUNTIME_SERVICE, Event, event_number, mask
from .versions import Version, nri_version

if TYPE_CHECKING:
    from collections.abc import Iterable

REGISTRATION_TIMEOUT: Final = 5.0
"""Seconds that the runtime may take for each of its steps (the answer to our registration, Configure, each part of Synchronize): its own
default for ours."""

OWN_DEADLINE: Final = 0.5
"""The part of the runtime's request timeout (2 s by default) after which we give up on a handler and refuse."""

NO_TIMEOUT: Final = 2.0
"""Seconds, for a request that names no timeout: NRI's default."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a plugin makes of its runtime's requests; times are seconds.

    It gives its methods `deadline` for each, or with 0 half of what the runtime gives, but `most` at most. `failure_policy` is what it asks of the
    runtime for the case that it fails.
    """

    deadline: float = 0.0
    most: float = math.inf
    failure_policy: api.FailurePolicy | None = None

    def patience(self, timeout: float) -> float:
        """How long a method has for a request for which the runtime gives `timeout`."""
        return self.deadline or min(timeout * OWN_DEADLINE, self.most)


class State(enum.Enum):
    """Where a session stands; it only ever moves down this list."""

    NEW = "new"
    REGISTERING = "registering"
    CONFIGURING = "waiting for Configure"
    SYNCHRONIZING = "waiting for Synchronize"
    READY = "synchronized"
    CLOSED = "closed"


class Step(enum.Enum):
    """The requests of the handshake: what a request asks for that is no event."""

    CONFIGURE = "Configure"
    SYNCHRONIZE = "Synchronize"


@dataclass(frozen=True, slots=True)
class Runtime:
    """What the runtime said of itself in Configure."""

    name: str
    version: str
    nri: Version
    request_timeout: float
    """Seconds; 0 when the runtime did not say."""
    config: str
    """The plugin's configuration as the runtime hands it over (pre-installed plugins), else empty."""


@dataclass(frozen=True, slots=True)
class Request:
    """A call that waits for `answer` or `refuse`."""

    stream: int
    what: Event | Step
    payload: bytes
    """The encoded request: of a StateChangeEvent if `state_change`, else of the event's own request."""
    state_change: bool
    deadline: float
    """When we give up on it, on the clock of `now`."""
    timeout: float = NO_TIMEOUT
    """How many seconds the runtime gives for it."""


class RegistrationRefused(Exception):
    """The runtime answered our registration with an error; the connection is of no use any more."""


class Silent(Exception):
    """The runtime did not take its next step in time; the connection is of no use any more."""


class Session:
    """See the module. `name` and `index` (two digits) are how the plugin registers; `events` what it subscribes.

    Not for several threads at once: who shares it holds a lock, from a call that makes bytes to their writing.
    """

    def __init__(
        self,
        name: str,
        index: str,
        events: Iterable[Event],
        terms: Terms = Terms(),  # frozen
    ) -> None:
        self.state = State.NEW
        self.runtime: Runtime | None = None
        self._name, self._index, self._events = name, index, frozenset(events)
        self._terms = terms
        self._link = Link()
        self._out: list[bytes] = []
        self._open: dict[int, Request] = {}
        self._step_deadline: float | None = None

    def __repr__(self) -> str:
        return f"<Session {self._index}-{self._name} {self.state.value}, {len(self._open)} open>"

    # -- out

    def data_to_send(self) -> bytes:
        """The bytes to send now; they are handed out once."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def open(self, now: float) -> None:
        """Register the plugin: the first thing on a new connection."""
        request = api.RegisterPluginRequest(plugin_name=self._name, plugin_idx=self._index)
        _, data = self._link.call(RUNTIME_SERVICE, "RegisterPlugin", request.SerializeToString())
        self._out.append(data)
        self._step(State.REGISTERING, now)

    def answer(self, stream: int, payload: bytes) -> bool:
        """Answer a request; False, and nothing is sent, if it has been answered already or the connection is closed.

        False also for an answer over ttrpc's limit. It becomes an error: the runtime would drop the connection over it, and create
        the container without what the answer says.
        """
        if not self._take(stream):
            return False
        try:
            self._out.append(self._link.answer(stream, payload))
        except MessageTooLarge as error:
            self._out.append(self._link.refuse(stream, Code.RESOURCE_EXHAUSTED, f"the answer is too large: {error}"))
            return False
        return True

    def refuse(self, stream: int, code: int, message: str) -> bool:
        """Answer a request with an error; False as with `answer`."""
        if not self._take(stream):
            return False
        self._out.append(self._link.refuse(stream, code, message))
        return True

    def configured(self, stream: int, runtime: Runtime, now: float) -> None:
        """Answer Configure with the events that this runtime knows of those we want.

        Raises ValueError, and nothing has changed, when it knows none of them.
        """
        response = api.ConfigureResponse(
            events=mask(self._events, runtime.nri), failure_policy=self._terms.failure_policy
        )
        if self.answer(stream, response.SerializeToString()):
            self.runtime = runtime
            self._step(State.SYNCHRONIZING, now)

    def synchronized(self, stream: int, updates: Iterable[api.ContainerUpdate], *, more: bool, now: float) -> None:
        """Answer one part of Synchronize; `more` says whether other parts follow, as the request did.

        It must be echoed, with no updates, or the runtime takes us for a plugin that cannot do parts and closes.
        """
        response = api.SynchronizeResponse(update=() if more else updates, more=more)
        if not self.answer(stream, response.SerializeToString()):
            return
        if more:
            self._step(State.SYNCHRONIZING, now)
        else:
            self.state, self._step_deadline = State.READY, None

    # -- in

    def receive(self, data: bytes, now: float) -> list[Request]:
        """The requests that `data` completes, in order. What needs no decision is answered here.

        Raises RemoteProtocolError for a wrong byte and RegistrationRefused: in both cases the session has closed, and so is the
        connection to be. A closed session takes nothing more.
        """
        if self.state is State.CLOSED:
            return []
        requests = []
        try:
            for event in self._link.receive(data):
                if isinstance(event, AnswerReceived):
                    self._registered(event, now)
                elif isinstance(event, UnreadableCallReceived):
                    self._out.append(self._link.refuse(event.stream, Code.INVALID_ARGUMENT, event.detail))
                elif (request := self._request(event, now)) is not None:
                    requests.append(request)
        except (RemoteProtocolError, RegistrationRefused):
            self.close()
            raise
        return requests

    def eof(self) -> None:
        """The peer closed. Raises RemoteProtocolError if it did so within a message."""
        if self.state is not State.CLOSED:
            self.close()
            self._link.eof()

    def close(self) -> None:
        """We close, or have lost the connection: what is answered from now on is dropped."""
        self.state, self._step_deadline = State.CLOSED, None

    # -- time

    def next_deadline(self) -> float | None:
        """When `tick` is to be called, at the latest; None if nothing is waited for."""
        deadlines = [request.deadline for request in self._open.values()]
        if self._step_deadline is not None:
            deadlines.append(self._step_deadline)
        return min(deadlines, default=None)

    def tick(self, now: float) -> list[Request]:
        """The requests whose deadline has passed and that nobody has answered yet.

        Raises Silent when the runtime did not take its next step of the handshake in time: close, connect again.
        """
        if self._step_deadline is not None and now >= self._step_deadline:
            waited = self.state
            self.close()
            raise Silent(f"the runtime fell silent while {waited.value}")
        return [request for request in self._open.values() if now >= request.deadline]

    @property
    def waiting(self) -> bool:
        """Whether a request has not been answered yet."""
        return bool(self._open)

    # -- inside

    def _take(self, stream: int) -> bool:
        """Whether it is the caller who answers this request: nobody has, and the connection stands."""
        return self._open.pop(stream, None) is not None and self.state is not State.CLOSED

    def _step(self, state: State, now: float) -> None:
        self.state, self._step_deadline = state, now + REGISTRATION_TIMEOUT

    def _registered(self, event: AnswerReceived, now: float) -> None:
        if event.status.code:
            raise RegistrationRefused(event.status.message)
        if self.state is State.REGISTERING:  # else the runtime called Configure before its answer arrived
            self._step(State.CONFIGURING, now)

    def _request(self, call: CallReceived, now: float) -> Request | None:
        try:
            what, state_change = _asked(call)
        except DecodeError as error:
            self._out.append(
                self._link.refuse(call.stream, Code.INVALID_ARGUMENT, f"the request cannot be decoded: {error}")
            )
            return None
        if what is None:
            self._out.append(self._without_decision(call))
            return None
        timeout = call.timeout_nano / 1e9 if call.timeout_nano > 0 else NO_TIMEOUT
        patience = self._terms.patience(timeout)
        if isinstance(what, Step):
            patience = max(
                patience, timeout * OWN_DEADLINE
            )  # nobody's container waits for it, and a large state takes its time
            self._step_deadline = now + patience + REGISTRATION_TIMEOUT
        request = Request(call.stream, what, call.payload, state_change, now + patience, timeout)
        self._open[call.stream] = request
        return request

    def _without_decision(self, call: CallReceived) -> bytes:
        """The answer to what is neither an event we know nor a step.

        An unknown event gets an empty success (up to containerd 2.2 an error to it fails the container), and so does
        Shutdown; any other method is Unimplemented, which is what makes a runtime use another way.
        """
        if call.service == PLUGIN_SERVICE and call.method in {"StateChange", "Shutdown"}:
            return self._link.answer(call.stream, b"")
        return self._link.refuse(call.stream, Code.UNIMPLEMENTED, unimplemented(call.service, call.method))


def _asked(call: CallReceived) -> tuple[Event | Step | None, bool]:
    """What a call asks for, and whether it came as a StateChange; None for what needs no decision.

    Raises DecodeError for a StateChange that is none: it might have been one that we must not let pass.
    """
    if call.service != PLUGIN_SERVICE:
        return None, False
    if call.method == "StateChange":
        number = event_number(call.payload)
        return (Event(number) if number in _EVENT_NUMBERS else None), True
    if (event := METHODS.get(call.method)) is not None:
        return event, False
    return _STEPS.get(call.method), False


_EVENT_NUMBERS: Final = frozenset(Event)
_STEPS: Final = {step.value: step for step in Step}


def runtime_of(request: api.ConfigureRequest) -> Runtime:
    """What a Configure request says of the runtime (`request_timeout` in seconds)."""
    nri = nri_version(request.runtime_name, request.runtime_version, request.NRI_version)
    timeout = request.request_timeout / 1000
    return Runtime(request.runtime_name, request.runtime_version, nri, timeout, request.config)
