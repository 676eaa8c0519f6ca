"""NRI's events, whichever way they come: one name for the RPC of its own and for StateChange. Pure.

Up to NRI 0.11 a runtime calls Create-, Update- and StopContainer by name and sends every other event as StateChange. From 0.12 each
event has an RPC of its own, and only an answer Unimplemented makes the runtime fall back to StateChange. A plugin that serves one form
only is not asked, so both are served, always.
"""

from __future__ import annotations

import enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from . import api
from .versions import Version

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PLUGIN_SERVICE: Final = "nri.pkg.api.v1alpha1.Plugin"
"""What we serve, on the multiplexer's connection 1."""

RUNTIME_SERVICE: Final = "nri.pkg.api.v1alpha1.Runtime"
"""What the runtime serves, on the multiplexer's connection 2."""


class Event(enum.IntEnum):
    """The events a plugin may subscribe, by their numbers on the wire."""

    RUN_POD_SANDBOX = 1
    STOP_POD_SANDBOX = 2
    REMOVE_POD_SANDBOX = 3
    CREATE_CONTAINER = 4
    POST_CREATE_CONTAINER = 5
    START_CONTAINER = 6
    POST_START_CONTAINER = 7
    UPDATE_CONTAINER = 8
    POST_UPDATE_CONTAINER = 9
    STOP_CONTAINER = 10
    REMOVE_CONTAINER = 11
    UPDATE_POD_SANDBOX = 12
    POST_UPDATE_POD_SANDBOX = 13
    VALIDATE_CONTAINER_ADJUSTMENT = 14


METHODS: Final[Mapping[str, Event]] = MappingProxyType(
    {"".join(word.capitalize() for word in event.name.split("_")): event for event in Event}
)
"""The RPC of each event: `CreateContainer` and so on."""

_SINCE_0_10: Final = frozenset(
    {Event.UPDATE_POD_SANDBOX, Event.POST_UPDATE_POD_SANDBOX, Event.VALIDATE_CONTAINER_ADJUSTMENT}
)
_NRI_0_10: Final = Version(0, 10, 0)


def mask(events: Iterable[Event], nri: Version) -> int:
    """The subscription for a runtime that speaks `nri`: bit n-1 for event n.

    Events that the runtime does not know are left out: it closes the connection over an unknown bit. Raises ValueError when
    nothing is left, because 0 means all events.
    """
    known = {event for event in events if nri >= _NRI_0_10 or event not in _SINCE_0_10}
    if not known:
        raise ValueError("none of the plugin's events is known to this runtime")
    return sum(1 << (event - 1) for event in known)


def event_number(payload: bytes) -> int:
    """The event number of an encoded StateChangeEvent, 0 when it has none. Raises DecodeError when it is no such event.

    The number is the first field, where encoders put it; the rest is decoded only where it is not.
    """
    if len(payload) >= 2 and payload[0] == 0x08 and payload[1] < 0x80:
        return payload[1]
    return api.StateChangeEvent.FromString(payload).event
