from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from nri_cdi.host.slot import Slot, Taken

if TYPE_CHECKING:
    import pathlib

HOLDER = """
import pathlib, sys
from nri_cdi.host.slot import Slot
slot = Slot(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_slot_is_held_by_one_and_the_other_is_told_by_which_process(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "made" / "10-nri-cdi.lock"
    slot = Slot(path)
    with pytest.raises(Taken, match=str(path)) as taken:
        Slot(path)
    assert taken.value.pid == os.getpid()
    slot.release()
    Slot(path).release()


def test_a_slot_is_free_when_its_process_is_killed(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen(  # noqa: S603  # a program of this test
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Taken) as taken:
            Slot(path)
        assert taken.value.pid == holder.pid
        holder.kill()
        holder.wait()
        slot = Slot(path)
        assert path.read_text() == f"{os.getpid()}\n"
        slot.release()


def test_a_lock_file_that_says_nothing_readable_is_held_by_an_unknown_process(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "lock"
    slot = Slot(path)
    path.write_text("not a number")
    with pytest.raises(Taken, match="unknown") as taken:
        Slot(path)
    assert taken.value.pid == 0
    slot.release()


def test_a_lock_that_cannot_be_made_says_why(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        Slot(tmp_path / "file" / "lock")
