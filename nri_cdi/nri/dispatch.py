"""From an encoded request to the plugin's method and back. Pure, but for what the plugin does.

Imports and message classes are looked up here once, so that serving a request costs none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import DecodeError, Message

from nri_cdi.ttrpc import Code

from . import api
from .events import METHODS, PLUGIN_SERVICE, Event
from .plugin import Plugin, Refused

if TYPE_CHECKING:
    from .session import Request

_CLASSES: Final = {event: api.SERVICES[PLUGIN_SERVICE][method][0] for method, event in METHODS.items()}
_Handler = Callable[[Plugin, Any], Message | None]
_ADJUSTING: Final[dict[Event, _Handler]] = {
    Event.CREATE_CONTAINER: lambda plugin, request: plugin.create_container(request),
    Event.UPDATE_CONTAINER: lambda plugin, request: plugin.update_container(request),
    Event.STOP_CONTAINER: lambda plugin, request: plugin.stop_container(request),
    Event.UPDATE_POD_SANDBOX: lambda plugin, request: plugin.update_pod_sandbox(request),
    Event.VALIDATE_CONTAINER_ADJUSTMENT: lambda plugin, request: plugin.validate_container_adjustment(request),
}
_NO_CONTAINER: Final = api.Container()


def handle(plugin: Plugin, request: Request) -> bytes:
    """The encoded answer of `plugin` to an event.

    Raises Refused for what is to be answered as an error, also for whatever else the plugin's method raised.
    """
    event = request.what
    assert isinstance(event, Event), "steps of the handshake are the shell's"  # noqa: S101  # a bug of ours
    try:
        if request.state_change:
            change = api.StateChangeEvent.FromString(request.payload)
            plugin.state_change(event, change.pod, change.container)
            return b""
        message: Any = _CLASSES[event].FromString(request.payload)
        if (adjusting := _ADJUSTING.get(event)) is not None:
            answer = adjusting(plugin, message)
            return answer.SerializeToString() if answer is not None else b""
        plugin.state_change(event, message.pod, getattr(message, "container", _NO_CONTAINER))
    except Refused:
        raise
    except DecodeError as error:
        raise Refused(f"the request cannot be decoded: {error}", Code.INVALID_ARGUMENT) from error
    except Exception as error:
        raise Refused(f"internal error: {type(error).__name__}: {error}", Code.INTERNAL) from error
    return b""
