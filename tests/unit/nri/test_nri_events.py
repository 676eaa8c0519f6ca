"""Subscriptions, and the number of an event in a StateChange."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from nri_cdi.nri import Event, Version, api
from nri_cdi.nri.events import METHODS, PLUGIN_SERVICE, event_number, mask

ALL = frozenset(Event)
OLD = Version(0, 8, 0)
NEW = Version(0, 10, 0)


@pytest.mark.parametrize(
    ("events", "nri", "expected"),
    [
        (ALL, Version(0, 6, 1), 0x7FF),
        (ALL, OLD, 0x7FF),
        (ALL, Version(0, 9, 0), 0x7FF),
        (ALL, NEW, 0x3FFF),
        (ALL, Version(0, 12, 5), 0x3FFF),
        ({Event.CREATE_CONTAINER, Event.START_CONTAINER}, OLD, 0x28),
        ({Event.CREATE_CONTAINER, Event.VALIDATE_CONTAINER_ADJUSTMENT}, OLD, 0x8),
        ({Event.CREATE_CONTAINER, Event.VALIDATE_CONTAINER_ADJUSTMENT}, NEW, 0x2008),
        ({Event.UPDATE_POD_SANDBOX}, NEW, 0x800),
    ],
)
def test_a_mask_has_only_the_bits_that_the_runtime_knows(events: frozenset[Event], nri: Version, expected: int) -> None:
    assert mask(events, nri) == expected


@pytest.mark.parametrize("events", [frozenset[Event](), frozenset({Event.VALIDATE_CONTAINER_ADJUSTMENT})])
def test_a_mask_without_any_bit_is_an_error_because_0_means_all(events: frozenset[Event]) -> None:
    with pytest.raises(ValueError, match="known to this runtime"):
        mask(events, OLD)


def test_events_have_the_numbers_and_the_methods_of_the_protocol() -> None:
    assert {event.name: event.value for event in Event} == {
        name: number for name, number in api.Event.items() if name not in {"UNKNOWN", "LAST"}
    }
    others = {"Configure", "Synchronize", "Shutdown", "StateChange"}
    assert set(METHODS) == set(api.SERVICES[PLUGIN_SERVICE]) - others


@pytest.mark.parametrize("number", [*range(17), 127, 128, 100_000])
def test_the_number_of_an_event_is_read_from_its_state_change(number: int) -> None:
    change = api.StateChangeEvent(pod=api.PodSandbox(id="p"))
    change.MergeFromString(b"\x08" + _varint(number))
    assert event_number(change.SerializeToString()) == number


def test_the_number_is_found_behind_other_fields() -> None:
    pod = api.StateChangeEvent(pod=api.PodSandbox(id="p")).SerializeToString()
    assert event_number(pod + b"\x08\x06") == Event.START_CONTAINER


@pytest.mark.parametrize("payload", [b"\x08", b"\x12\x05ab", b"\xff"])
def test_what_is_no_state_change_is_an_error_not_an_unknown_event(payload: bytes) -> None:
    with pytest.raises(DecodeError):
        event_number(payload)


@given(st.binary(max_size=40))
def test_any_bytes_give_a_number_or_a_decode_error(payload: bytes) -> None:
    try:
        number = event_number(payload)
    except DecodeError:
        return
    assert isinstance(number, int)


def _varint(number: int) -> bytes:
    encoded = b""
    while number > 0x7F:
        encoded, number = encoded + bytes([number & 0x7F | 0x80]), number >> 7
    return encoded + bytes([number])
