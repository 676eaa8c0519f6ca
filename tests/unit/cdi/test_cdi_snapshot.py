"""The snapshot: priorities, conflicts, resolution, and the reasons for what does not resolve."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nri_cdi.cdi import (
    EMPTY,
    ContainerEdits,
    Device,
    DirectoryState,
    RejectedFile,
    Rule,
    Scan,
    Snapshot,
    Spec,
    SpecDirectory,
    SpecError,
    SpecFile,
    UnresolvedDevices,
    Why,
)
from nri_cdi.testing import specs


def file(path: str, priority: int, *names: str, kind: str = "v.com/gpu") -> SpecFile:
    """A spec file whose edits say where they come from."""
    devices = tuple(Device(name, ContainerEdits(env=(f"{name}={path}",))) for name in names)
    return SpecFile(path, priority, Spec("0.6.0", kind, devices, ContainerEdits(env=(f"SPEC={path}",))))


def rejected(path: str, kind: str = "") -> RejectedFile:
    return RejectedFile(
        path, 0, (SpecError(path, 3, 1, "foo", Rule.UNKNOWN_FIELD, "1", "there is no field foo", "remove it"),), kind
    )


def snapshot(*files: SpecFile | RejectedFile) -> Snapshot:
    directories = (SpecDirectory("/a", 0, DirectoryState.PRESENT), SpecDirectory("/b", 1, DirectoryState.MISSING))
    return Snapshot.build(Scan(directories, files))


def why(shot: Snapshot, name: str) -> Why:
    with pytest.raises(UnresolvedDevices) as caught:
        shot.resolve([name])
    return caught.value.details[0].why


def test_devices_vendors_and_classes_are_sorted() -> None:
    shot = snapshot(file("/a/1", 0, "z", "a"), file("/a/2", 0, "b", kind="a.com/net"))
    assert list(shot.devices) == ["a.com/net=b", "v.com/gpu=a", "v.com/gpu=z"]
    assert (shot.vendors, shot.classes) == (("a.com", "v.com"), ("gpu", "net"))


def test_the_later_directory_wins_without_a_conflict() -> None:
    shot = snapshot(file("/a/1", 0, "x", "y"), file("/b/1", 1, "x"))
    assert shot.devices["v.com/gpu=x"].path == "/b/1"
    assert shot.devices["v.com/gpu=y"].path == "/a/1"
    assert shot.conflicts == {}


def test_a_conflict_in_one_directory_takes_the_name_from_everybody_and_leaves_the_others() -> None:
    shot = snapshot(file("/a/1", 0, "x", "y"), file("/a/2", 0, "x"), file("/a/3", 0, "x", "z"))
    assert list(shot.devices) == ["v.com/gpu=y", "v.com/gpu=z"]
    assert shot.conflicts == {"v.com/gpu=x": ("/a/1", "/a/2", "/a/3")}
    assert set(shot.all_errors()) == {"/a/1", "/a/2", "/a/3"}


@pytest.mark.parametrize(
    "files",
    [
        (file("/a/1", 0, "x"), file("/a/2", 0, "x"), file("/b/1", 1, "x")),
        (file("/a/1", 0, "x"), file("/b/1", 1, "x"), file("/b/2", 1, "x")),
    ],
)
def test_no_other_directory_heals_a_conflict(files: tuple[SpecFile, ...]) -> None:
    assert why(snapshot(*files), "v.com/gpu=x") is Why.CONFLICT


def test_conflicts_in_two_directories_name_all_four_files() -> None:
    shot = snapshot(file("/a/1", 0, "x"), file("/a/2", 0, "x"), file("/b/1", 1, "x"), file("/b/2", 1, "x"))
    assert shot.conflicts["v.com/gpu=x"] == ("/a/1", "/a/2", "/b/1", "/b/2")


def test_the_same_directory_given_twice_is_no_conflict() -> None:
    assert snapshot(file("/a/1", 0, "x"), file("/a/1", 1, "x")).devices["v.com/gpu=x"].priority == 1


def test_a_file_without_a_device_left_keeps_its_vendor() -> None:
    assert snapshot(file("/a/1", 0, "x"), file("/b/1", 1, "x"), file("/a/2", 0, "y", kind="o.com/x")).vendors == (
        "o.com",
        "v.com",
    )


def test_the_edits_of_a_file_come_once_before_its_first_device() -> None:
    shot = snapshot(file("/a/1", 0, "x", "y"), file("/a/2", 0, "z"))
    edits = shot.resolve(["v.com/gpu=y", "v.com/gpu=z", "v.com/gpu=x", "v.com/gpu=y"])
    assert edits.env == ("SPEC=/a/1", "y=/a/1", "SPEC=/a/2", "z=/a/2", "x=/a/1", "y=/a/1")


def test_nothing_asked_is_nothing_edited() -> None:
    assert EMPTY.resolve([]).is_empty


def test_missing_names_come_in_request_order_with_repeats_and_a_reason_each() -> None:
    shot = snapshot(file("/a/1", 0, "x"))
    with pytest.raises(UnresolvedDevices) as caught:
        shot.resolve(["v.com/gpu=b", "v.com/gpu=x", "v.com/gpu=a", "v.com/gpu=b"])
    assert caught.value.names == ("v.com/gpu=b", "v.com/gpu=a", "v.com/gpu=b")
    assert [detail.name for detail in caught.value.details] == ["v.com/gpu=b", "v.com/gpu=a"]
    text = str(caught.value)
    assert text.startswith("unresolvable CDI devices v.com/gpu=b, v.com/gpu=a, v.com/gpu=b: ")
    assert "/a, /b (missing)" in text


@pytest.mark.parametrize(
    ("name", "reason", "words"),
    [
        ("gpu0", Why.INVALID_NAME, "vendor/class=device"),
        ("v.com/gpu=x,v.com/gpu=y", Why.INVALID_NAME, "','"),
        ("w.org/gpu=x", Why.NO_VENDOR, 'vendor "w.org"'),
        ("v.com/net=x", Why.NO_KIND, "v.com/net"),
        ("v.com/gpu=7", Why.NO_DEVICE, "/a/1"),
        ("v.com/gpu=twice", Why.CONFLICT, "/a/1, /a/2"),
        ("bad.com/gpu=x", Why.REJECTED_FILE, "/a/bad:3:1: foo: there is no field foo; remove it"),
    ],
)
def test_the_reason_says_what_is_missing(name: str, reason: Why, words: str) -> None:
    shot = snapshot(file("/a/1", 0, "x", "twice"), file("/a/2", 0, "twice"), rejected("/a/bad", "bad.com/gpu"))
    with pytest.raises(UnresolvedDevices) as caught:
        shot.resolve([name])
    assert caught.value.details[0].why is reason
    assert words in str(caught.value)
    assert caught.value.to_plain()["names"] == [name]


def test_a_file_that_may_have_defined_the_name_is_mentioned() -> None:
    with pytest.raises(UnresolvedDevices, match=r"no spec file of vendor.*rejected: /a/broken:3:1"):
        snapshot(rejected("/a/broken"), rejected("/a/other", "o.com/x")).resolve(["v.com/gpu=x"])


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("v.com/gpu=gpu1O", "v.com/gpu=gpu10"), ("v.com/gpu=GPU10", "v.com/gpu=gpu10"), ("v.com/gpo=gpu10", "v.com/gpu")],
)
def test_a_typing_error_is_answered_with_what_was_meant(typed: str, meant: str) -> None:
    with pytest.raises(UnresolvedDevices) as caught:
        snapshot(file("/a/1", 0, "gpu10", "other")).resolve([typed])
    assert caught.value.details[0].nearest == (meant,)


def test_errors_are_those_of_rejected_files_and_of_directories() -> None:
    fault = SpecError("/c", 0, 0, "", Rule.UNREADABLE, None, "not a directory", "give a directory")
    shot = Snapshot.build(Scan((SpecDirectory("/c", 0, DirectoryState.ERROR, fault),), (rejected("/a/bad"),)))
    assert list(shot.errors) == ["/a/bad", "/c"]
    assert shot.errors["/c"] == (fault,)


@settings(max_examples=60)
@given(specs.scans, st.data())
def test_what_a_snapshot_lists_resolves_and_resolving_leaves_it_as_it_was(scan: Scan, data: st.DataObject) -> None:
    shot = Snapshot.build(scan)
    before = repr(shot)
    for name in shot.devices:
        entry = shot.device(name)
        assert entry is not None
        assert shot.resolve([name]).env == entry.file.spec.edits.env + entry.device.edits.env
    unknown = data.draw(specs.qualified_names.filter(lambda name: name not in shot.devices))
    with pytest.raises(UnresolvedDevices):
        shot.resolve([*shot.devices, unknown])
    assert repr(shot) == before
