"""An NRI session joined to the runtime's end of its link, without a socket: what is said on both sides, step by step.

    peer = ready()                                  # registered, configured and synchronized at time 0
    request = peer.create(now=1.0)
    peer.session.answer(request.stream, b"")
    peer.collect()
    peer.answers[request.stream]

The runtime's end is real ttrpc: a second answer to one call raises RemoteProtocolError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nri_cdi.nri import Event, Runtime, Session, Version, api
from nri_cdi.nri.events import PLUGIN_SERVICE
from nri_cdi.ttrpc import PLUGIN_CONNECTION, RUNTIME_CONNECTION, AnswerReceived, CallReceived, Code, Link

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.message import Message

    from nri_cdi.nri import Request

EVENTS: Final = frozenset({Event.CREATE_CONTAINER, Event.START_CONTAINER})
"""What a Peer's plugin subscribes unless said otherwise."""

RUNTIME: Final = Runtime("containerd", "1.7.24", Version(0, 6, 1), 0.0, "")
"""How the runtime introduces itself."""

SECOND: Final = 1_000_000_000
"""In nanoseconds, as requests carry their timeouts."""


class Peer:
    """See the module. `answers` are the plugin's, by stream; `registration` is its call."""

    def __init__(self, events: Iterable[Event] = EVENTS) -> None:
        self.session = Session("labels", "10", events)
        self.link = Link(serves=RUNTIME_CONNECTION, calls=PLUGIN_CONNECTION)
        self.answers: dict[int, AnswerReceived] = {}
        self.registration: CallReceived | None = None

    def open(self, now: float = 0.0) -> None:
        """The plugin registers."""
        self.session.open(now)
        self.collect()

    def collect(self) -> None:
        """Take what the session has to say; the link raises on a second answer to one call."""
        for event in self.link.receive(self.session.data_to_send()):
            if isinstance(event, AnswerReceived):
                self.answers[event.stream] = event
            elif isinstance(event, CallReceived):
                self.registration = event

    def answer_registration(self, now: float = 0.0, refusal: str = "") -> None:
        """The runtime accepts the registration, or refuses it. Raises what the session raises."""
        if self.registration is None:
            raise RuntimeError("the plugin has not registered: open() comes first")
        stream = self.registration.stream
        data = self.link.refuse(stream, Code.UNKNOWN, refusal) if refusal else self.link.answer(stream, b"")
        self.session.receive(data, now)

    def call(self, method: str, message: Message | bytes, now: float = 0.0, timeout_nano: int = 2 * SECOND) -> Request:
        """The runtime calls: the request that the session makes of it. Raises ValueError when it makes none."""
        _, (request,) = self.called(method, message, now, timeout_nano)
        return request

    def called(
        self,
        method: str,
        message: Message | bytes,
        now: float = 0.0,
        timeout_nano: int = 2 * SECOND,
        service: str = PLUGIN_SERVICE,
    ) -> tuple[int, list[Request]]:
        """The runtime calls: the stream, and the requests that the session makes of it."""
        payload = message if isinstance(message, bytes) else message.SerializeToString()
        stream, data = self.link.call(service, method, payload, timeout_nano=timeout_nano)
        return stream, self.session.receive(data, now)

    def create(self, now: float = 0.0, timeout_nano: int = 2 * SECOND) -> Request:
        """The runtime calls CreateContainer."""
        return self.call("CreateContainer", api.CreateContainerRequest(), now, timeout_nano)


def registered(now: float = 0.0) -> Peer:
    """A plugin whose registration has just been accepted."""
    peer = Peer()
    peer.open(now)
    peer.answer_registration(now)
    return peer


def configured(now: float = 0.0) -> Peer:
    """A plugin that has just been configured."""
    peer = registered(now)
    peer.session.configured(peer.call("Configure", api.ConfigureRequest(), now).stream, RUNTIME, now)
    peer.collect()
    return peer


def ready(now: float = 0.0) -> Peer:
    """A plugin that has just been synchronized."""
    peer = configured(now)
    request = peer.call("Synchronize", api.SynchronizeRequest(), now)
    peer.session.synchronized(request.stream, (), more=False, now=now)
    peer.collect()
    return peer
