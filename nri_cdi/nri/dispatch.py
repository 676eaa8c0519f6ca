"""From an encoded request to the plugin's method and back. Pure, but for what the plugin does.

Whatever goes wrong in a plugin's method comes out as `Refused`, so that it is answered: an error that is not answered lets the container
pass. Imports and message classes are looked up here once, so that serving a request costs none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from google.protobuf.message import DecodeError, Message

from nri_cdi.ttrpc import Code

from . import api
from .events import METHODS, PLUGIN_SERVICE, Event, mask
from .plugin import Plugin, Refused
from .session import runtime_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .session import Request, Runtime

_T = TypeVar("_T")
_CLASSES: Final = {event: api.SERVICES[PLUGIN_SERVICE][method] for method, event in METHODS.items()}
_Handler = Callable[[Plugin, Any], Message | None]
_ADJUSTING: Final[dict[Event, _Handler]] = {
    Event.CREATE_CONTAINER: lambda plugin, request: plugin.create_container(request),
    Event.UPDATE_CONTAINER: lambda plugin, request: plugin.update_container(request),
    Event.STOP_CONTAINER: lambda plugin, request: plugin.stop_container(request),
    Event.UPDATE_POD_SANDBOX: lambda plugin, request: plugin.update_pod_sandbox(request),
    Event.VALIDATE_CONTAINER_ADJUSTMENT: lambda plugin, request: plugin.validate_container_adjustment(request),
}
_NO_CONTAINER: Final = api.Container()


class Unexpected(Refused):
    """A method of the plugin raised what it should not, which is this error's cause; refused, and to be logged."""


def concerns(plugin: Plugin, request: Request) -> bool:
    """Whether an event concerns `plugin`. Raises Unexpected."""
    event = _event(request)
    return _called(lambda: plugin.concerns(event, request.payload, state_change=request.state_change))


def handle(plugin: Plugin, request: Request) -> bytes:
    """The encoded answer of `plugin` to an event. Raises Refused for what is to be answered as an error."""
    return _called(lambda: _handled(plugin, _event(request), request))


def configure(plugin: Plugin, request: Request) -> Runtime:
    """Introduce the runtime to `plugin`. Raises Refused, also when the runtime knows none of the plugin's events."""
    return _called(lambda: _configured(plugin, api.ConfigureRequest.FromString(request.payload)))


def synchronize(plugin: Plugin, request: Request) -> tuple[Sequence[api.ContainerUpdate], bool]:
    """Hand a part of Synchronize to `plugin`: its updates, and whether more parts follow. Raises Refused."""
    return _called(lambda: _synchronized(plugin, api.SynchronizeRequest.FromString(request.payload)))


def too_late(plugin: Plugin, request: Request) -> Refused | None:
    """What to answer for a request that was not decided in time: the plugin's words; None for an empty success."""
    refused: Refused | None
    if isinstance(event := request.what, Event):
        try:
            refused = _called(
                lambda: _worded(plugin.overdue(event, request.payload, state_change=request.state_change))
            )
        except Refused as error:
            refused = error
    else:
        refused = Refused(f"the plugin did not finish {event.value} in time", Code.DEADLINE_EXCEEDED)
    return refused


def _called(method: Callable[[], _T]) -> _T:
    """What a method returns; what it raises, as Refused."""
    try:
        return method()
    except Refused:
        raise
    except DecodeError as error:
        raise Refused(f"the request cannot be decoded: {error}", Code.INVALID_ARGUMENT) from error
    except BaseException as error:  # SystemExit too: an answer that does not come lets the container pass
        raise Unexpected(f"internal error: {_in_words(error)}", Code.INTERNAL) from error


def _handled(plugin: Plugin, event: Event, request: Request) -> bytes:
    if request.state_change:
        change = api.StateChangeEvent.FromString(request.payload)
        plugin.state_change(event, change.pod, change.container)
        return b""
    asks, answers = _CLASSES[event]
    message: Any = asks.FromString(request.payload)
    if (adjusting := _ADJUSTING.get(event)) is None:
        plugin.state_change(event, message.pod, getattr(message, "container", _NO_CONTAINER))
        return b""
    answer = adjusting(plugin, message)
    if answer is None:
        return b""
    if not isinstance(answer, answers):
        raise TypeError(
            f"{type(plugin).__name__} answered {event.name} with {type(answer).__name__}, not {answers.__name__}"
        )
    return answer.SerializeToString()


def _configured(plugin: Plugin, request: api.ConfigureRequest) -> Runtime:
    runtime = runtime_of(request)
    try:
        mask(plugin.events, runtime.nri)
    except ValueError as error:
        raise Refused(f"{error} ({runtime.name} {runtime.version}, NRI {runtime.nri})") from error
    plugin.configure(runtime)
    return runtime


def _synchronized(plugin: Plugin, request: api.SynchronizeRequest) -> tuple[Sequence[api.ContainerUpdate], bool]:
    updates = plugin.synchronize(request.pods, request.containers, more=request.more)
    return api.SynchronizeResponse(update=updates).update, request.more


def _worded(refused: object) -> Refused | None:
    if refused is not None and not isinstance(refused, Refused):
        raise TypeError(f"overdue returned {type(refused).__name__}, not Refused")
    return refused


def _event(request: Request) -> Event:
    assert isinstance(request.what, Event), "steps of the handshake have functions of their own"  # noqa: S101  # a bug of ours
    return request.what


def _in_words(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001  # a text that cannot be made must not cost the answer
        return type(error).__name__
