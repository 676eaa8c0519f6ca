"""Looking again: what is put together from differences is what a look at everything finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from nri_cdi.cdi import DirectoryState, RejectedFile, Rule, Snapshot, SpecDirectory, SpecError, SpecFile
from nri_cdi.cdi.look import NOTHING_KNOWN, Look, SeenFile, merge
from nri_cdi.testing.snapshots import spec_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nri_cdi.cdi.look import Identity, Key

DIRECTORIES = tuple(SpecDirectory(f"/{at}", at, DirectoryState.PRESENT) for at in range(2))
BAD = "bad"

Files = dict["Key", tuple[int, str, str]]
"""What is there: by its key the version, the kind and the devices, a letter each; the kind BAD: no spec."""

keys = st.tuples(st.sampled_from([0, 1]), st.sampled_from("\U0001f600\uff5eamz")).map(
    lambda key: (key[0], f"/{key[0]}/{key[1]}.json")
)
contents = st.tuples(st.sampled_from(["v.com/d", "v.com/e", BAD]), st.sampled_from(["", "a", "b", "ab"]))
steps = st.lists(st.lists(st.tuples(keys, contents), max_size=4), min_size=1, max_size=5)


def content(key: Key, kind: str, devices: str) -> SpecFile | RejectedFile:
    """A value of its own each time, as a look makes it."""
    priority, path = key
    if kind == BAD:
        return RejectedFile(path, priority, (SpecError(path, 1, 1, "", Rule.SYNTAX, None, devices, "correct it"),))
    return SpecFile(path, priority, spec_file(kind, devices, path).spec)


def look(files: Files, known: Mapping[Key, Identity]) -> Look:
    """As the reading process looks: in scan order, and only at what is not as it is known."""
    ordered = sorted(files, key=lambda key: (key[0], key[1].encode()))
    seen = [
        SeenFile(path, priority, (version,), settled=True, content=content((priority, path), kind, devices))
        for priority, path in ordered
        for version, kind, devices in [files[priority, path]]
        if known.get((priority, path)) != (version,)
    ]
    return Look(DIRECTORIES, ((0,), (0,)), tuple(seen), frozenset(known.keys() - files.keys()))


@settings(max_examples=100)
@given(steps)
def test_a_snapshot_made_from_differences_is_the_one_made_from_everything(
    rounds: list[list[tuple[Key, tuple[str, str]]]],
) -> None:
    files: Files = {}
    memory, snapshot, version = NOTHING_KNOWN, None, 0
    for changes in rounds:
        for key, (kind, devices) in changes:
            version += 1
            if devices:
                files[key] = version, kind, devices
            else:
                files.pop(key, None)
        before = memory
        scan, memory = merge(look(files, memory.read), memory)
        snapshot = Snapshot.build(scan, snapshot)
        everything, fresh = merge(look(files, {}), NOTHING_KNOWN)
        whole = Snapshot.build(everything)
        assert scan == everything
        assert (memory.read, memory.seen) == (fresh.read, fresh.seen)
        assert {name: entry.path for name, entry in snapshot.devices.items()} == {
            name: entry.path for name, entry in whole.devices.items()
        }
        assert list(snapshot.conflicts.items()) == list(whole.conflicts.items())
        assert (snapshot.vendors, snapshot.classes, snapshot.errors) == (whole.vendors, whole.classes, whole.errors)
        assert all(
            memory.contents[key] is before.contents[key]
            for key in memory.contents.keys() & before.read.keys()
            if memory.read[key] == before.read[key]
        )


def test_a_look_that_finds_nothing_different_says_the_same() -> None:
    files: Files = {(0, "/0/a.json"): (1, "v.com/d", "a")}
    _, memory = merge(look(files, {}), NOTHING_KNOWN)
    _, again = merge(look(files, memory.read), memory)
    _, touched = merge(look({(0, "/0/a.json"): (2, "v.com/d", "a")}, memory.read), memory)
    _, changed = merge(look({(0, "/0/a.json"): (2, "v.com/d", "b")}, memory.read), memory)
    assert again.says_the_same(memory)
    assert touched.says_the_same(memory)
    assert not changed.says_the_same(memory)


def test_a_file_that_is_gone_is_in_no_scan() -> None:
    files: Files = {(0, f"/0/{name}.json"): (1, "v.com/d", name) for name in "ab"}
    _, memory = merge(look(files, {}), NOTHING_KNOWN)
    del files[0, "/0/a.json"]
    scan, memory = merge(look(files, memory.read), memory)
    assert [file.path for file in scan.files] == ["/0/b.json"]
    assert memory.seen.keys() == {"/0", "/1", "/0/b.json"}


def test_a_kind_whose_files_did_not_change_is_not_indexed_again() -> None:
    files: Files = {(0, f"/0/{number}.json"): (1, f"v.com/k{number}", "ab") for number in range(3)}
    scan, memory = merge(look(files, {}), NOTHING_KNOWN)
    first = Snapshot.build(scan)
    files[0, "/0/1.json"] = 2, "v.com/k1", "b"
    second = Snapshot.build(merge(look(files, memory.read), memory)[0], first)
    kept = {kind for kind, indexed in second._kinds.items() if first._kinds.get(kind) is indexed}
    assert kept == {"v.com/k0", "v.com/k2"}
    assert "v.com/k1=a" not in second.devices
    assert "v.com/k1=a" in first.devices
