"""The encoding between the parsing child and the serving process."""

from __future__ import annotations

import json
import marshal
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nri_cdi.cdi import (
    ContainerEdits,
    Device,
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
    [HEAD, ("file", "/a", 0, None, True, True, "{", [], []), END],
    [HEAD, ("file", "/a", 0, None, True, True, '{"cdiVersion": "1.0.0", "kind": "a/b", "devices": []}', [], [0]), END],
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
        packed.Unpacker({}).take(frame)


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


def as_packed(scan: Scan, which: list[bool]) -> Scan:
    """The scan with some of its files as they come out."""
    seen = tuple(SeenFile(file.path, file.priority, None, settled=True, content=file) for file in scan.files)
    came = unpacked(packed.encode_look(Look((), (), seen))).files
    files = zip(scan.files, came, which, strict=True)
    return Scan(scan.directories, tuple(one.content if is_packed else file for file, one, is_packed in files))


A_FILE = SpecFile("/a", 0, Spec("0.6.0", "v.com/d", (Device("d1", ContainerEdits(env=("A=1",))),)))
NAME = "v.com/d=d1"


def but(file: SpecFile, **changes: Any) -> SpecFile:  # noqa: ANN401 - fields of all types
    return replace(file, spec=replace(file.spec, **changes))


@pytest.mark.parametrize("which", [[True, True], [True, False], [False, False]])
@pytest.mark.parametrize(
    ("other", "same"),
    [
        (but(A_FILE, version="0.7.0"), True),
        (but(A_FILE, devices=(Device("d0", ContainerEdits(env=("A=0",))), *A_FILE.spec.devices)), True),
        (but(A_FILE, devices=(Device("d1", ContainerEdits(env=("A=2",))),)), False),
        (but(A_FILE, devices=(Device("d2", ContainerEdits(env=("A=1",))),)), False),
        (but(A_FILE, edits=ContainerEdits(env=("COMMON=1",))), False),
        (but(A_FILE, kind="v.com/e"), False),
        (replace(A_FILE, path="/b"), False),
        (replace(A_FILE, priority=1), True),
    ],
)
def test_a_device_differs_unless_all_that_its_file_gives_to_it_is_equal_at_whatever_place(
    which: list[bool],
    other: SpecFile,
    same: bool,  # noqa: FBT001 - a table's column
) -> None:
    before, after = (
        Snapshot.build(as_packed(Scan((), (file,)), [is_packed]))
        for file, is_packed in zip((A_FILE, other), which, strict=True)
    )
    assert (NAME in after.differing(before, ["v.com/d"])) is not same
    assert (NAME in before.differing(after, ["v.com/d"])) is not same


@settings(max_examples=60)
@given(specs.scans, specs.scans, st.data())
def test_two_snapshots_differ_in_the_names_that_are_something_else_in_the_other(
    one: Scan, other: Scan, data: st.DataObject
) -> None:
    shots = []
    for scan in (one, replace(other, files=(*other.files, *one.files[1:]))):
        which = data.draw(st.lists(st.booleans(), min_size=len(scan.files), max_size=len(scan.files)))
        shots.append(Snapshot.build(as_packed(scan, which)))
    kinds = {name.partition("=")[0] for shot in shots for name in shot.devices}

    def said(shot: Snapshot, name: str) -> object:
        entry = shot.device(name)
        return entry and (entry.path, entry.file.spec.edits, entry.device)

    names = {name for shot in shots for name in shot.devices}
    assert shots[0].differing(shots[1], kinds) == {
        name for name in names if said(shots[0], name) != said(shots[1], name)
    }
    assert not shots[0].differing(shots[1], [])


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
