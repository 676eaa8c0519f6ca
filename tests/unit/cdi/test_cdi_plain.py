"""The encoding between the parsing child and the serving process."""

from __future__ import annotations

import json
import marshal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nri_cdi.cdi import (
    ContainerEdits,
    Device,
    DeviceEntry,
    IntelRdt,
    NetDevice,
    Scan,
    Snapshot,
    Spec,
    SpecDirectory,
    SpecFile,
    packed,
    plain,
)
from nri_cdi.cdi.files import DirectoryState
from nri_cdi.cdi.look import Look, SeenFile
from nri_cdi.testing import specs
from nri_cdi.testing.spec_files import unpacked

IDENTITIES = st.none() | st.tuples(*[st.integers(0, 2**63)] * 5) | st.tuples(st.integers(0, 99))


@st.composite
def looks(draw: st.DrawFn) -> Look:
    """A look that found what a scan has."""
    scan: Scan = draw(specs.scans)
    return Look(
        scan.directories,
        tuple(draw(IDENTITIES) for _ in scan.directories),
        tuple(SeenFile(file.path, file.priority, draw(IDENTITIES), draw(st.booleans()), file) for file in scan.files),
        draw(st.frozensets(st.tuples(st.integers(0, 3), st.text(max_size=3)), max_size=3)),
        tuple(draw(st.lists(st.text(max_size=3), max_size=3))),
    )


@settings(max_examples=80)
@given(looks())
def test_an_unpacked_look_equals_the_packed_one(look: Look) -> None:
    assert unpacked(packed.encode_look(look)) == look


def test_a_path_that_is_not_utf_8_survives() -> None:
    look = Look((SpecDirectory(b"/\xff".decode(errors="surrogateescape"), 0, DirectoryState.MISSING),), (None,), ())
    assert unpacked(packed.encode_look(look)) == look


def many(count: int) -> Look:
    """A file with so many devices of a hundred bytes."""
    devices = tuple(Device(f"d{number}", ContainerEdits(env=(f"A={number:070}",))) for number in range(count))
    return Look((), (), (SeenFile("/a", 0, (1,), True, SpecFile("/a", 0, Spec("0.6.0", "v.com/d", devices))),))  # noqa: FBT003 - `settled`


def test_many_devices_come_in_frames_of_a_moderate_size() -> None:
    """Unpacking a frame holds the interpreter lock."""
    look = many(5000)
    frames = list(packed.encode_look(look))
    assert len(frames) > 5
    assert max(map(len, frames)) < 2 * packed.FRAME
    assert unpacked(frames) == look


def test_a_look_whose_beginning_is_missing_is_refused() -> None:
    frames = list(packed.encode_look(many(5000)))
    with pytest.raises(ValueError, match="not an encoded look"):
        unpacked(frames[1:])


HEAD: tuple[Any, ...] = ("look", [], ())
END = ("end", frozenset[object](), ())
WRONG: list[Any] = [
    None,
    (),
    (HEAD, END),
    [1],
    [()],
    [END],
    [("other",), HEAD, END],
    [("look", [[]], ()), END],
    [HEAD, ("file", "/a"), END],
    [HEAD, ("file", "/a", 0, None, True, True, "{", []), END],
    [HEAD, ("devices", 1, 2), END],
]


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"[]",
        b"[" * 100_000,
        packed.HEAD,
        packed.HEAD[:-2] + b"9\n" + marshal.dumps([HEAD, END]),
        *(packed.HEAD + marshal.dumps(value) for value in WRONG),
        packed.HEAD + marshal.dumps([HEAD, END])[:-1],
    ],
)
def test_anything_else_is_a_value_error(frame: bytes) -> None:
    with pytest.raises(ValueError, match="not an encoded look"):
        packed.Unpacker().take(frame)


def packed_devices(device: Device) -> object:
    """The device as it comes out, undecoded."""
    file = SpecFile("/a", 0, Spec("0.6.0", "v.com/d", (device,)))
    (seen,) = unpacked(packed.encode_look(Look((), (), (SeenFile("/a", 0, (1,), True, file),)))).files  # noqa: FBT003 - `settled`
    return seen.content


def test_packed_devices_are_equal_exactly_if_what_they_say_is() -> None:
    (one,), (same,), (other,) = (unpacked(packed.encode_look(many(count))).files for count in (3, 3, 4))
    assert one == same
    assert one != other
    flipped = [Device("d", annotations=dict(order)) for order in ([("a", "1"), ("b", "2")], [("b", "2"), ("a", "1")])]
    assert packed_devices(flipped[0]) == packed_devices(flipped[1])


@pytest.mark.parametrize("is_packed", [(True, True), (True, False), (False, False)])
@pytest.mark.parametrize(
    ("name", "value", "path", "common", "same"),
    [
        ("d1", "1", "/a", "", True),
        ("d1", "2", "/a", "", False),
        ("d2", "1", "/a", "", False),
        ("d1", "1", "/b", "", False),
        ("d1", "1", "/a", "COMMON=1", False),
    ],
)
def test_a_device_says_the_same_if_all_that_its_file_gives_to_it_is_equal_at_whatever_place(
    is_packed: tuple[bool, bool],
    name: str,
    value: str,
    path: str,
    common: str,
    same: bool,  # noqa: FBT001 - a table's column
) -> None:
    def entry(files: list[str], name: str, value: str, path: str, common: str, *, is_packed: bool) -> DeviceEntry:
        devices = tuple(Device(one, ContainerEdits(env=(f"{one}={value}",))) for one in files)
        edits = ContainerEdits(env=(common,)) if common else ContainerEdits()
        file = SpecFile(path, 0, Spec("0.6.0", "v.com/d", devices, edits))
        if is_packed:
            (seen,) = unpacked(packed.encode_look(Look((), (), (SeenFile(path, 0, None, True, file),)))).files  # noqa: FBT003 - `settled`
            assert isinstance(seen.content, SpecFile)
            file = seen.content
        (found,) = [one for one in Snapshot.build(Scan((), (file,))).devices.values() if one.device.name == name]
        return found

    before = entry(["d0", "d1"], "d1", "1", "/a", "", is_packed=is_packed[0])
    after = entry(["d3", "d2", "d1"], name, value, path, common, is_packed=is_packed[1])
    assert before.says_the_same(after) is same
    assert after.says_the_same(before) is same


def test_a_decoded_scan_is_as_frozen_as_a_fresh_one() -> None:
    document = {"cdiVersion": "1.1.0", "kind": "a/b", "devices": [], "annotations": {"a": "b"}}
    spec = plain.spec_from_plain(json.loads(json.dumps(document)))
    assert hash(spec) == hash(spec)
    with pytest.raises(TypeError):
        spec.annotations["a"] = "c"  # type: ignore[index]  # that it cannot be assigned is the point


def test_edits_are_written_under_the_names_of_the_specification() -> None:
    edits = ContainerEdits(
        net_devices=(NetDevice("eth1", "a"),), intel_rdt=IntelRdt("c", schemata=()), additional_gids=(0,)
    )
    assert plain.edits_to_plain(edits) == {
        "netDevices": [{"hostInterfaceName": "eth1", "name": "a"}],
        "intelRdt": {"closID": "c", "schemata": []},
        "additionalGids": [0],
    }
