"""A spec file with many devices that is read again: what comes out is what it says now, and little of it is read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nri_cdi.cdi import RejectedFile, SpecFile, packed
from nri_cdi.cdi.load import examine
from nri_cdi.cdi.look import NOTHING_KNOWN, Look, Memory, SeenFile, merge
from nri_cdi.cdi.packed import numbers_of
from nri_cdi.cdi.written import DEVICES
from nri_cdi.testing.spec_files import unpacked

if TYPE_CHECKING:
    from collections.abc import Callable

    from nri_cdi.cdi.load import Examined

KEY = 0, "/a.json"
MANY = 5 * DEVICES

Plain = dict[str, Any]
Devices = list[Plain]


def device(name: str, value: str = "1") -> Plain:
    return {"name": name, "containerEdits": {"env": [f"A={value}"]}}


def some(first: int = 0, count: int = MANY) -> Devices:
    return [device(f"d{number}") for number in range(first, first + count)]


def text(devices: Devices, **fields: Any) -> bytes:  # noqa: ANN401 - JSON values
    return json.dumps({"cdiVersion": "0.4.0", "kind": "v.com/d", "devices": devices, **fields}).encode()


def content(examined: Examined) -> SpecFile | RejectedFile:
    priority, path = KEY
    if examined.errors:
        return RejectedFile(path, priority, examined.errors, examined.spec.kind)
    return SpecFile(path, priority, examined.spec, examined.warnings)


def read(data: bytes, memory: Memory) -> tuple[Memory, int]:
    """What is known when the file with this content was read by one who knew that; how many devices were read, 0 for all by the YAML reader."""
    known, judged = packed.decode_known(packed.encode_known(memory))
    assert known == {}
    examined = examine(data, KEY[1], *(judged[KEY],) if KEY in judged else ())
    seen = SeenFile(KEY[1], KEY[0], None, settled=True, content=content(examined), blocks=examined.blocks)
    came = unpacked(packed.encode_look(Look((), (), (seen,))), memory)
    return merge(came, memory)[1], len(examined.spec.devices)


def told(file: SpecFile | RejectedFile) -> tuple[object, list[str]]:
    """What a file says, and the names of its devices in their order."""
    return file, list(numbers_of(file.spec)) if isinstance(file, SpecFile) else []


def again(*contents: bytes) -> tuple[tuple[object, list[str]], int]:
    """The last content, when each was read by who knew the one before; how many devices were read then."""
    memory, devices = NOTHING_KNOWN, 0
    for data in contents:
        memory, devices = read(data, memory)
    return told(memory.contents[KEY]), devices


def anew(data: bytes) -> tuple[object, list[str]]:
    return told(content(examine(data, KEY[1])))


OTHER = device("d100", "2")


@pytest.mark.parametrize(
    ("devices", "fields", "blocks"),
    [
        (some(), {}, 1),
        (some(), {"containerEdits": {"env": ["B=1"]}}, 1),
        ([*some(0, 100), OTHER, *some(101, MANY - 101)], {}, 2),
        ([*some(0, 100), *some(101, MANY - 101)], {}, 2),
        ([device("new"), *some()], {}, 2),
        ([*some(), device("new")], {}, 2),
        (some(0, 2 * DEVICES), {}, 1),
        ([*some(2 * DEVICES, 2 * DEVICES), *some(0, DEVICES), device("new")], {}, 1),
        (some(), {"kind": "v.com/e"}, 5),
        (some(), {"cdiVersion": "0.5.0"}, 5),
        ([device(f"e{number}") for number in range(MANY)], {}, 5),
    ],
)
def test_of_a_file_with_many_devices_only_blocks_that_changed_and_the_last_are_read_again(
    devices: Devices, fields: Plain, blocks: int
) -> None:
    data = text(devices, **fields)
    found, count = again(text(some()), data)
    assert found == anew(data)
    assert count <= blocks * DEVICES
    assert again(text(some()), data, data)[1] <= DEVICES


def test_devices_that_all_begin_alike_are_told_apart() -> None:
    long = [{"containerEdits": {"env": ["A=" + "a" * 300]}, "name": f"d{number}"} for number in range(MANY)]
    data = text([*long[:10], *long[11:]])
    assert again(text(long), data)[0] == anew(data)


def hooked(name: str) -> Plain:
    """A device with a feature that needs 0.4.0, whose want is a fault in the last device of a file and else a warning."""
    return {"name": name, "containerEdits": {"mounts": [{"hostPath": "/a", "containerPath": "/b", "type": "tmpfs"}]}}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (text(some()), text([*some(), device("d3")])),
        (text(some()), text([*some(0, 70), *some()])),
        (text([*some(), hooked("h")]), text([*some(), hooked("h")], cdiVersion="0.3.0")),
        (text([hooked("h"), *some()]), text([hooked("h"), *some()], cdiVersion="0.3.0")),
        (text([*some(), hooked("h")]), text([*some(), hooked("h"), device("last")])),
        (
            text([hooked("h"), *some()], cdiVersion="0.3.0"),
            text([hooked("h"), *some(), device("new")], cdiVersion="0.3.0"),
        ),
        (text([*some(0, 200), hooked("h"), *some(200, 1)]), text([*some(0, 200), hooked("h")])),
        (text(some()), text(some(), annotations={"devices": []})),
        (text(some()), text(some()).replace(b'"devices"', b'"device"')),
        (text(some()), text(some()).replace(b'"devices"', b'"annotations": {"devices"') + b"}"),
        (text(some()), text(some()) + b"]"),
        (text(some()), text(some()).replace(b"}, {", b"} {", 1)),
        (text(some()), text(some()).replace(b"}, {", b"}, , {", 1)),
        (text(some()), text(some(), containerEdits={"env": ["A"]})),
        (text(some()), text([*some(), device("new", "\\")])),
        (text(some()), text([*some(0, 100), {"name": "x", "containerEdits": {}}, *some(101, 99)])),
        (text(some(), containerEdits={"env": ["A"]}), text(some())),
        (text(some(0, 1)), text(some())),
    ],
)
def test_what_is_kept_changes_nothing_of_what_is_said(before: bytes, after: bytes) -> None:
    assert again(before, after)[0] == anew(after)
    assert again(before, after, before)[0] == anew(before)


def insert(devices: Devices, at: int, number: int) -> Devices:
    return [*devices[:at], device(f"new{number}"), *devices[at:]]


def remove(devices: Devices, at: int, number: int) -> Devices:
    return [*devices[:at], *devices[at + number :]]


def change(devices: Devices, at: int, number: int) -> Devices:
    return [*devices[:at], device(f"d{at}", f"{number}"), *devices[at + 1 :]]


def move(devices: Devices, at: int, number: int) -> Devices:
    return [*devices[at:], *devices[:number], *devices[number:at]]


CHANGES: list[Callable[[Devices, int, int], Devices]] = [insert, remove, change, move]
changes = st.lists(st.tuples(st.sampled_from(CHANGES), st.integers(0, MANY), st.integers(0, 200)), max_size=3)
fields = st.sampled_from([{}, {}, {"cdiVersion": "0.5.0"}, {"containerEdits": {"env": ["B=1"]}}])


@settings(max_examples=25)
@given(st.lists(st.tuples(changes, fields), max_size=3))
def test_whatever_changes_in_a_file_it_is_read_as_if_for_the_first_time(
    steps: list[tuple[list[tuple[Callable[[Devices, int, int], Devices], int, int]], Plain]],
) -> None:
    devices = some()
    contents = [text(devices)]
    for changed, more in steps:
        for how, at, number in changed:
            devices = how(devices, at, number) or some()
        contents.append(text(devices, **more))
    assert again(*contents)[0] == anew(contents[-1])
