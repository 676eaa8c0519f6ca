"""What was complete before a request is in its answer; what is half-written keeps its last good content; what did not change is not read."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from nri_cdi.host import specs as module
from nri_cdi.host.specs import Specs
from nri_cdi.testing.spec_files import InProcess, devices, running, text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nri_cdi.host.inotify import Watch


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """A spec directory with the device `old`."""
    directory = tmp_path / "etc" / "cdi"
    directory.mkdir(parents=True)
    (directory / "spec.json").write_text(text("old"))
    return directory


@pytest.fixture(params=["watched", "unwatched"])
def follow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], InProcess]:
    """A watcher, with and without a kernel that watches."""

    def refuse(_directories: tuple[str, ...]) -> Watch:
        raise OSError(24, os.strerror(24))

    if request.param == "unwatched":
        monkeypatch.setattr(module, "Watch", refuse)
    return lambda directory: InProcess((str(directory),))


def replace(path: Path, content: str) -> None:
    """Write beside it and rename over it."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(content)
    temporary.rename(path)


def rewrite(path: Path, content: str) -> None:
    """Write into the file itself, in two parts."""
    with path.open("w") as file:
        file.write(content[: len(content) // 2])
        file.flush()
        file.write(content[len(content) // 2 :])


@pytest.mark.parametrize("write", [replace, rewrite])
def test_every_change_is_in_the_next_answer(
    etc: Path, follow: Callable[[Path], InProcess], write: Callable[[Path, str], None]
) -> None:
    with running(follow(etc)) as specs:
        for number in range(40):
            write(etc / "spec.json", text(f"d{number}"))
            assert devices(specs) == {f"d{number}"}


@pytest.mark.parametrize("write", [replace, rewrite])
def test_a_device_that_stays_is_never_away_while_its_file_is_written(
    etc: Path, follow: Callable[[Path], InProcess], write: Callable[[Path, str], None]
) -> None:
    written = threading.Event()

    def writer() -> None:
        for number in range(60):
            write(etc / "spec.json", text("old", f"d{number}"))
        written.set()

    with running(follow(etc)) as specs:
        assert devices(specs) == {"old"}
        thread = threading.Thread(target=writer)
        thread.start()
        asked = 0
        while not written.is_set() or asked < 5:
            assert "old" in devices(specs)
            asked += 1
        thread.join()
        assert devices(specs) == {"old", "d59"}


def test_a_file_that_is_open_for_writing_keeps_its_last_good_content(
    etc: Path, follow: Callable[[Path], InProcess]
) -> None:
    with running(follow(etc)) as specs:
        assert devices(specs) == {"old"}
        with (etc / "spec.json").open("w") as file:
            (etc / "other.json").write_text(text("other"))  # has the directory looked at
            assert devices(specs) == {"old", "other"}
            file.write(text("new"))
            file.flush()
            (etc / "other.json").unlink()
            assert devices(specs) == {"old"}
        assert devices(specs) == {"new"}


def test_a_file_that_is_open_for_writing_when_it_is_first_seen_has_no_devices_until_it_is_closed(
    etc: Path, follow: Callable[[Path], InProcess]
) -> None:
    with (etc / "spec.json").open("w") as file:
        file.write(text("half"))  # a sound file, and perhaps not all of it
        file.flush()
        with running(follow(etc)) as specs:
            assert devices(specs) == set()
            assert "open for writing" in str(specs.snapshot.errors)
            file.truncate(0)
            file.seek(0)
            file.write(text("half", "whole"))
            file.close()
            assert devices(specs) == {"half", "whole"}


def test_a_file_that_was_just_broken_keeps_its_last_good_content_until_it_has_settled(
    etc: Path, follow: Callable[[Path], InProcess]
) -> None:
    with running(follow(etc)) as specs:
        assert devices(specs) == {"old"}
        (etc / "spec.json").write_text("{")
        assert devices(specs) == {"old"}
        os.utime(etc / "spec.json", (1, 1))  # so it was written long ago
        assert devices(specs) == set()


def test_nothing_more_need_happen_for_a_broken_file_to_settle(
    etc: Path, follow: Callable[[Path], InProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nri_cdi.cdi.scan.SETTLE", 0.05)
    monkeypatch.setattr(module, "UNSETTLED", 0.02)
    gone = threading.Event()
    specs = follow(etc)
    specs.subscribe(lambda snapshot: None if snapshot.devices else gone.set())
    with running(specs):
        assert devices(specs) == {"old"}
        (etc / "spec.json").write_text("{")
        assert gone.wait(20)


def test_only_what_changed_is_read_again(etc: Path, follow: Callable[[Path], InProcess]) -> None:
    for number in range(5):
        (etc / f"{number}.json").write_text(text(f"d{number}"))
    specs = follow(etc)
    with running(specs):
        devices(specs)
        for path in etc.iterdir():
            os.utime(path, (1, 1))
        devices(specs)
        threading.Event().wait(
            0.03
        )  # a change within one tick of the kernel's clock does not show: what is so young is read again
        (etc / "first.json").write_text(text("first"))
        devices(specs)
        count = len(specs.reader.looks)
        threading.Event().wait(0.03)
        (etc / "4.json").write_text(text("new"))
        devices(specs)
        read = [file.path for look in specs.reader.looks[count:] for file in look.files]
        assert set(read) <= {f"{etc}/4.json", f"{etc}/first.json"}
        assert f"{etc}/4.json" in read


def retarget(tmp_path: Path) -> None:
    (tmp_path / "next").symlink_to("two.json")
    (tmp_path / "next").rename(tmp_path / "middle")


def swap_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").rename(tmp_path / "away")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "one.json").write_text(text("new"))


ELSEWHERE: dict[str, tuple[str, Callable[[Path], object], set[str]]] = {
    "the target is written": ("../../one.json", lambda tmp: (tmp / "one.json").write_text(text("new")), {"new"}),
    "the target is replaced": ("../../one.json", lambda tmp: replace(tmp / "one.json", text("new")), {"new"}),
    "the target is removed": ("../../one.json", lambda tmp: (tmp / "one.json").unlink(), set()),
    "the target comes": ("../../late.json", lambda tmp: (tmp / "late.json").write_text(text("new")), {"new"}),
    "the target's directory comes": ("../../late/x.json", lambda tmp: (tmp / "late").mkdir(), set()),
    "a link between is replaced": ("../../middle", retarget, {"two"}),
    "the target's directory is replaced": ("../../folder/one.json", swap_folder, {"new"}),
}


@pytest.mark.parametrize(("target", "change", "there"), ELSEWHERE.values(), ids=ELSEWHERE)
def test_what_happens_where_a_link_leads_is_seen(
    etc: Path,
    tmp_path: Path,
    follow: Callable[[Path], InProcess],
    target: str,
    change: Callable[[Path], object],
    there: set[str],
) -> None:
    (tmp_path / "folder").mkdir()
    for name in ("one.json", "folder/one.json"):
        (tmp_path / name).write_text(text("one"))
    (tmp_path / "two.json").write_text(text("two"))
    (tmp_path / "middle").symlink_to("one.json")
    (etc / "spec.json").unlink()
    (etc / "spec.json").symlink_to(target)
    with running(follow(etc)) as specs:
        before = devices(specs)
        change(tmp_path)
        assert devices(specs) == there
        assert before == (set() if "late" in target else {"one"})


def test_a_directory_of_a_linked_file_that_comes_in_two_steps_is_seen(
    etc: Path, tmp_path: Path, follow: Callable[[Path], InProcess]
) -> None:
    (etc / "spec.json").unlink()
    (etc / "spec.json").symlink_to("../../late/spec.json")
    with running(follow(etc)) as specs:
        assert devices(specs) == set()
        (tmp_path / "late").mkdir()
        assert devices(specs) == set()
        (tmp_path / "late" / "spec.json").write_text(text("late"))
        assert devices(specs) == {"late"}


def test_a_file_that_is_written_under_its_other_name_is_seen(
    etc: Path, tmp_path: Path, follow: Callable[[Path], InProcess]
) -> None:
    (tmp_path / "other").hardlink_to(etc / "spec.json")
    with running(follow(etc)) as specs:
        assert devices(specs) == {"old"}
        (tmp_path / "other").write_text(text("new"))
        assert devices(specs) == {"new"}


def test_what_is_found_open_a_moment_before_it_is_closed_is_looked_at_again(
    etc: Path, follow: Callable[[Path], InProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel says that a file was closed for writing a moment before the file counts as closed."""
    still_open = threading.Event()
    monkeypatch.setattr("nri_cdi.cdi.scan._is_written", lambda _descriptor: still_open.is_set())
    monkeypatch.setattr(module, "UNSETTLED", 60)
    with running(follow(etc)) as specs:
        assert devices(specs) == {"old"}
        still_open.set()
        (etc / "spec.json").write_text(text("new"))
        assert devices(specs) == {"old"}
        still_open.clear()  # of which the kernel says nothing more
        assert devices(specs) == {"new"}


def test_the_real_reading_process_serves_many_changes(etc: Path) -> None:
    with running(Specs((str(etc),))) as specs:
        for number in range(15):
            replace(etc / "spec.json", text(f"d{number}"))
            assert devices(specs) == {f"d{number}"}
        with (etc / "spec.json").open("w"):
            (etc / "other.json").write_text(text("other"))
            assert devices(specs) == {"d14", "other"}


def test_a_watch_that_runs_out_while_links_are_followed_is_given_up_and_the_request_still_has_what_is_there(
    etc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.json").write_text(text("one"))

    def refuse(_watch: Watch, _linked: tuple[str, ...]) -> bool:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("nri_cdi.host.inotify.Watch.follow", refuse)
    with running(InProcess((str(etc),))) as specs:
        assert devices(specs) == {"old"}
        (etc / "spec.json").unlink()
        (etc / "spec.json").symlink_to(tmp_path / "one.json")
        assert devices(specs) == {"one"}
        (tmp_path / "one.json").write_text(text("new"))
        assert devices(specs) == {"new"}
