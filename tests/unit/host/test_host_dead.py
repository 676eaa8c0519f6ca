"""A spec directory on a file system that does not answer any more: a process that asks it cannot even be killed, and a thread hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from nri_cdi.cdi.look import NOTHING_KNOWN, Memory
from nri_cdi.host import reader
from nri_cdi.host import specs as module
from nri_cdi.host.specs import Specs
from nri_cdi.testing.log import logged
from nri_cdi.testing.spec_files import InProcess, devices, running, text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nri_cdi.host.inotify import Watch


class Undead(subprocess.Popen[bytes]):
    """A process that a signal does not end, as one that waits for a dead file system."""

    def kill(self) -> None:
        """Without effect."""


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """A spec directory with the device `old`."""
    (tmp_path / "old.json").write_text(text("old"))
    return tmp_path


@pytest.fixture
def undead(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Undead]]:
    """The reading processes that were begun. None answers, or ends by itself; at the end of the test all do."""
    begun: list[Undead] = []

    def begin(_directories: tuple[str, ...]) -> Undead:
        command = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
        begun.append(Undead(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        return begun[-1]

    monkeypatch.setattr(reader, "begin", begin)
    monkeypatch.setattr(reader, "KILLED", 0.05)
    yield begun
    for one in begun:
        if one.poll() is None:
            os.kill(one.pid, signal.SIGKILL)
        one.wait(20)


def test_a_process_that_cannot_be_killed_is_left_behind_and_none_is_begun_beside_it(
    etc: Path, undead: list[Undead], monkeypatch: pytest.MonkeyPatch
) -> None:
    real_timeout = reader.TIMEOUT
    monkeypatch.setattr(reader, "TIMEOUT", 0.05)
    reading = reader.Reader((str(etc),))
    try:
        reading.ask(NOTHING_KNOWN)
        with pytest.raises(reader.ScanFailed, match=r"no result after 0.05 s; is one of .* on a dead network"):
            reading.answer()
        with pytest.raises(reader.ScanFailed, match=r"killed and does not end; is one of .* on a dead network"):
            reading.ask(NOTHING_KNOWN)
        assert len(undead) == 1
        os.kill(undead[0].pid, signal.SIGKILL)  # the file system answers again
        os.waitid(os.P_PID, undead[0].pid, os.WEXITED | os.WNOWAIT)
        reading.ask(NOTHING_KNOWN)
        assert len(undead) == 2
    finally:
        monkeypatch.setattr(reader, "TIMEOUT", real_timeout)
        reading.end()


MUCH_KNOWN = Memory((), {(0, f"/etc/cdi/{number}.json"): (number,) * 5 for number in range(10_000)}, {}, {})
"""More to ask than a pipe holds."""


def test_a_process_that_does_not_take_a_long_question_is_given_up_as_one_that_does_not_answer(
    etc: Path, undead: list[Undead], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "TIMEOUT", 0.05)
    reading = reader.Reader((str(etc),))
    reading.ask(MUCH_KNOWN)
    assert len(reading._question) > 1 << 17
    with pytest.raises(reader.ScanFailed, match=r"no result after 0.05 s"):
        reading.answer()
    assert len(undead) == 1


def test_a_long_question_is_put_whole(etc: Path) -> None:
    reading = reader.Reader((str(etc),))
    try:
        for _ in range(2):
            reading.ask(MUCH_KNOWN)
            assert [one.path for one in reading.answer().files] == [str(etc / "old.json")]
    finally:
        reading.end()


def test_stop_does_not_wait_for_a_process_that_cannot_be_killed(etc: Path, undead: list[Undead]) -> None:
    with running(Specs((str(etc),))) as specs:
        assert specs.current(0) is None
    assert len(undead) == 1


def refuse(_directories: tuple[str, ...]) -> Watch:
    raise OSError(24, os.strerror(24))


@pytest.mark.parametrize("watched", [True, False])
def test_a_comparison_that_hangs_is_said_and_holds_up_nothing(
    etc: Path, monkeypatch: pytest.MonkeyPatch, *, watched: bool
) -> None:
    answers = threading.Event()

    def hang(_memory: Memory) -> bool:
        if threading.current_thread() is threading.main_thread():
            return True  # a request's own look, which has the time of a decision
        answers.wait(60)
        return False

    monkeypatch.setattr(Memory, "is_stale", hang)
    monkeypatch.setattr(module, "COMPARE", 0.01)
    monkeypatch.setattr(module, "RESCAN", 0.01)
    monkeypatch.setattr(module, "COMPARISON", 0.05)
    if not watched:
        monkeypatch.setattr(module, "Watch", refuse)
    try:
        with logged("nri_cdi.specs") as log, running(InProcess((str(etc),))) as specs:
            assert devices(specs) == {"old"}
            log.wait_for(f"no status after 0.05 s; is one of {etc} on a dead network file system?")
            (etc / "new.json").write_text(text("new"))
            assert devices(specs) == {"old", "new"}
            (etc / "new.json").unlink()
            assert devices(specs) == {"old"}
    finally:
        answers.set()
