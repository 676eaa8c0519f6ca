"""The specs of a node follow its files: after a change that is complete, `current` never gives what was before."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from nri_cdi.cdi.look import NOTHING_KNOWN
from nri_cdi.host import reader
from nri_cdi.host import specs as module
from nri_cdi.host.inotify import Watch
from nri_cdi.host.specs import Specs
from nri_cdi.testing.spec_files import InProcess, devices, running, text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Change = Callable[[Path], object]


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """A spec directory with the device `old`, and things beside it that changes need."""
    directory = tmp_path / "etc" / "cdi"
    directory.mkdir(parents=True)
    (directory / "old.json").write_text(text("old"))
    (tmp_path / "new.json").write_text(text("new"))
    return directory


def replace_directory(etc: Path) -> None:
    etc.rename(etc.with_name("before"))
    etc.mkdir()
    (etc / "new.json").write_text(text("new"))


def replace_parent(etc: Path) -> None:
    parent = etc.parent
    parent.rename(parent.with_name("before"))
    etc.mkdir(parents=True)
    (etc / "new.json").write_text(text("new"))


def remove_directory(etc: Path) -> None:
    (etc / "old.json").unlink()
    etc.rmdir()


CHANGES: dict[str, tuple[Change, set[str]]] = {
    "a file is written": (lambda etc: (etc / "new.json").write_text(text("new")), {"old", "new"}),
    "a file is written again": (lambda etc: (etc / "old.json").write_text(text("new")), {"new"}),
    "a file is renamed in": (
        lambda etc: (etc.parent.parent / "new.json").rename(etc / "new.json"),
        {"old", "new"},
    ),
    "a file is renamed over another": (
        lambda etc: (etc.parent.parent / "new.json").rename(etc / "old.json"),
        {"new"},
    ),
    "a hard link is made": (lambda etc: (etc / "new.json").hardlink_to(etc.parent.parent / "new.json"), {"old", "new"}),
    "a symbolic link is made": (
        lambda etc: (etc / "new.json").symlink_to(etc.parent.parent / "new.json"),
        {"old", "new"},
    ),
    "a file is removed": (lambda etc: (etc / "old.json").unlink(), set()),
    "a file is renamed away": (lambda etc: (etc / "old.json").rename(etc / "old.json.bak"), set()),
    "the directory is removed": (remove_directory, set()),
    "the directory is replaced": (replace_directory, {"new"}),
    "the directory's parent is replaced": (replace_parent, {"new"}),
}


@pytest.mark.parametrize(("change", "there"), CHANGES.values(), ids=CHANGES)
def test_what_has_happened_is_in_the_next_snapshot(etc: Path, change: Change, there: set[str]) -> None:
    with running(InProcess((str(etc),))) as specs:
        assert devices(specs) == {"old"}
        change(etc)
        assert devices(specs) == there
        # and what happens behind it, in the place where it then is
        etc.mkdir(parents=True, exist_ok=True)
        (etc / "later.json").write_text(text("later"))
        assert devices(specs) == {*there, "later"}


def test_a_directory_that_is_made_later_is_watched_from_then_on(tmp_path: Path) -> None:
    directory = tmp_path / "var" / "run" / "cdi"
    with running(InProcess((str(directory),))) as specs:
        assert devices(specs) == set()
        (tmp_path / "var").mkdir()
        assert devices(specs) == set()
        directory.mkdir(parents=True)
        assert devices(specs) == set()
        (directory / "a.json").write_text(text("a"))
        assert devices(specs) == {"a"}


def test_a_config_map_that_is_swapped_is_seen(etc: Path) -> None:
    """As the kubelet does it: files are links through `..data`, and that link is renamed over."""
    (etc / "old.json").unlink()
    for generation, name in (("..1", "one"), ("..2", "two")):
        (etc / generation).mkdir()
        (etc / generation / "spec.json").write_text(text(name))
    (etc / "..data").symlink_to("..1")
    (etc / "spec.json").symlink_to("..data/spec.json")
    with running(InProcess((str(etc),))) as specs:
        assert devices(specs) == {"one"}
        (etc / "..data_tmp").symlink_to("..2")
        (etc / "..data_tmp").rename(etc / "..data")
        assert devices(specs) == {"two"}


def test_a_directory_that_is_reached_through_another_link_is_followed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "cdi").mkdir(parents=True)
        (tmp_path / name / "cdi" / "spec.json").write_text(text(name))
    (tmp_path / "link").symlink_to("one")
    with running(InProcess((str(tmp_path / "link" / "cdi"),))) as specs:
        assert devices(specs) == {"one"}
        (tmp_path / "next").symlink_to("two")
        (tmp_path / "next").rename(tmp_path / "link")
        assert devices(specs) == {"two"}
        (tmp_path / "two" / "cdi" / "more.json").write_text(text("more"))
        assert devices(specs) == {"two", "more"}


def test_of_two_directories_either_is_followed(tmp_path: Path) -> None:
    first, second = tmp_path / "cdi", tmp_path / "cdi" / "below"
    second.mkdir(parents=True)
    with running(InProcess((str(first), str(second)))) as specs:
        assert devices(specs) == set()
        (first / "a.json").write_text(text("a"))
        assert devices(specs) == {"a"}
        (second / "b.yaml").write_text(text("b"))
        assert devices(specs) == {"a", "b"}


def test_events_that_change_nothing_cost_no_scan(etc: Path) -> None:
    with running(InProcess((str(etc),))) as specs:
        before = specs.current(20)
        (etc / ".spec.json.swp").write_text("x")
        (etc.parent / "other").mkdir()
        assert specs.current(20) is before


def test_a_watch_says_what_is_pending_without_taking_it(etc: Path) -> None:
    watch = Watch((str(etc),))
    try:
        assert not watch.pending()
        (etc / "new.json").write_text(text("new"))
        assert watch.pending()
        assert watch.pending()
        assert watch.take()
        assert not watch.pending()
        (etc / "notes.txt").write_text("x")
        assert not watch.take()
    finally:
        watch.close()


def test_listeners_are_told_of_each_snapshot(etc: Path) -> None:
    told: list[int] = []
    specs = InProcess((str(etc),))
    specs.subscribe(lambda snapshot: told.append(len(snapshot.devices)))
    with running(specs):
        devices(specs)
        (etc / "old.json").unlink()
        devices(specs)
    assert told[0] == 1
    assert told[-1] == 0


def test_a_faulty_file_is_named_once_and_its_end_too(etc: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "nri_cdi.specs"), running(InProcess((str(etc),))) as specs:
        (etc / "bad.json").write_text("{")
        devices(specs)
        (etc / "new.json").write_text(text("new"))
        devices(specs)
        (etc / "bad.json").unlink()
        (etc / "new.json").unlink()
        devices(specs)
    lines = [record.getMessage() for record in caplog.records]
    assert len([line for line in lines if "not YAML" in line]) == 1
    assert f"{etc}/bad.json: in order again, or gone" in lines


# -- the child process


def child(code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603  # a program of this test
        [sys.executable, "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


FAILURES = {
    "ends with an error": ("import sys; sys.exit('out of something')", "ended with status 1: out of something"),
    "is killed": ("import os; os.kill(os.getpid(), 9)", "ended with status -9"),
    "writes what is no scan": ("print('[]')", "not an encoded look"),
    "hangs": ("import time; time.sleep(600)", "on a dead network file system?"),
}


@pytest.mark.parametrize(("code", "says"), FAILURES.values(), ids=FAILURES)
def test_a_child_that_fails_leaves_the_last_snapshot_and_is_tried_again(
    etc: Path, code: str, says: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = reader.begin
    with running(Specs((str(etc),))) as specs:
        assert devices(specs) == {"old"}
        before = specs.snapshot
        failed = threading.Event()
        repaired = threading.Event()

        def begin(directories: tuple[str, ...]) -> subprocess.Popen[bytes]:
            # here, because the scan that follows takes it: no scan that hangs gets the long one
            monkeypatch.setattr(reader, "TIMEOUT", 0.05 if "dead" in says and not repaired.is_set() else 30)
            if repaired.is_set():
                return real(directories)
            if says in caplog.text:
                failed.set()
            return child(code)

        monkeypatch.setattr(reader, "begin", begin)
        monkeypatch.setattr(module, "RETRY", 0.01)
        warm = specs._reader._child
        assert warm is not None
        warm.kill()
        warm.wait(10)
        (etc / "new.json").write_text(text("new"))
        assert failed.wait(20)
        assert specs.current(0) is None
        assert specs.snapshot is before
        assert caplog.text.count(says) == 1
        repaired.set()
        assert devices(specs) == {"old", "new"}


def test_a_reading_process_that_has_become_large_is_replaced_before_it_is_needed_again(
    etc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "MUCH", 1000)
    with running(Specs((str(etc),))) as specs:
        assert devices(specs) == {"old"}
        before = specs._reader._child
        assert before is not None
        renewed = threading.Event()
        real = reader.begin

        def begin(directories: tuple[str, ...]) -> subprocess.Popen[bytes]:
            renewed.set()
            return real(directories)

        monkeypatch.setattr(reader, "begin", begin)
        (etc / "small.json").write_text(text("small"))
        assert devices(specs) == {"old", "small"}
        assert specs._reader._child is before
        (etc / "large.json").write_text(text(*(f"d{number}" for number in range(50))))
        assert len(devices(specs)) == 52
        assert renewed.wait(20)
        assert before.wait(20) != 0
        (etc / "large.json").unlink()
        assert devices(specs) == {"old", "small"}


def test_a_reading_process_that_read_one_new_device_among_many_is_kept(
    etc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"d{number}" for number in range(300)]
    (etc / "old.json").write_text(text(*names))
    with running(Specs((str(etc),))) as specs:
        assert devices(specs) == {*names}
        monkeypatch.setattr(reader, "MUCH", 10_000)
        before = specs._reader._child
        (etc / "old.new").write_text(text("d", *names))
        (etc / "old.new").rename(etc / "old.json")
        assert devices(specs) == {"d", *names}
        assert specs._reader._child is before


def test_a_process_that_cannot_be_replaced_is_begun_when_it_is_needed(
    etc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = reader.Reader((str(etc),))
    real = reader.begin
    try:
        monkeypatch.setattr(reader, "MUCH", 1)
        reading.ask(NOTHING_KNOWN)
        reading.answer()

        def refuse(_directories: tuple[str, ...]) -> subprocess.Popen[bytes]:
            raise OSError(11, os.strerror(11))

        monkeypatch.setattr(reader, "begin", refuse)
        reading.renew()
        with pytest.raises(OSError, match="unavailable"):
            reading.ask(NOTHING_KNOWN)
        monkeypatch.setattr(reader, "begin", real)
        reading.ask(NOTHING_KNOWN)
        assert [file.path for file in reading.answer().files] == [f"{etc}/old.json"]
    finally:
        reading.end()


def test_a_reading_process_that_idles_is_ended_and_begun_again(etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE", 0.01)
    with running(Specs((str(etc),))) as specs:
        assert devices(specs) == {"old"}
        first = specs._reader._child
        if first is not None:  # not ended yet
            first.wait(20)
        (etc / "new.json").write_text(text("new"))
        assert devices(specs) == {"old", "new"}


def test_stop_ends_a_scan_that_hangs(etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "begin", lambda _directories: child("import time; time.sleep(600)"))
    with running(Specs((str(etc),))) as specs:
        assert specs.current(0) is None


def test_where_the_kernel_does_not_watch_the_directories_are_read_again_and_again(
    etc: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_directories: tuple[str, ...]) -> Watch:
        raise OSError(24, os.strerror(24))

    monkeypatch.setattr(module, "Watch", refuse)
    monkeypatch.setattr(module, "RESCAN", 0.01)
    told = threading.Event()
    specs = InProcess((str(etc),))
    specs.subscribe(lambda snapshot: told.set() if "v.com/d=new" in snapshot.devices else None)
    with running(specs):
        devices(specs)
        (etc / "new.json").write_text(text("new"))
        assert told.wait(20)
    assert caplog.text.count("the kernel does not watch the spec directories") == 1


def test_a_watch_that_the_kernel_takes_away_later_is_given_up(etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_watch: Watch) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(module, "RESCAN", 0.01)
    told = threading.Event()
    specs = InProcess((str(etc),))
    specs.subscribe(lambda snapshot: told.set() if "v.com/d=new" in snapshot.devices else None)
    with running(specs):
        devices(specs)
        monkeypatch.setattr(Watch, "renew", refuse)
        (etc / "new.json").write_text(text("new"))
        assert told.wait(20)
