"""How the memory's file is written: whole, on the disk, and without remains."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nri_cdi.kubelet.memory import Memory

if TYPE_CHECKING:
    import pathlib

    import pytest

GPU = "device.example.com/gpu"


def test_the_file_is_on_the_disk_before_it_takes_the_place_of_the_one_before(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "gpu.json"
    path.write_text("before")
    synced: list[tuple[bytes, str]] = []
    fsync = os.fsync

    def noted(number: int) -> None:
        fsync(number)
        synced.append((os.pread(os.open(f"/proc/self/fd/{number}", os.O_RDONLY), 1 << 16, 0), path.read_text()))

    monkeypatch.setattr(os, "fsync", noted)
    assert Memory(path, GPU, "boot").keep(())
    assert synced == [(path.read_bytes(), "before")]


def test_a_file_that_cannot_take_its_place_leaves_nothing_behind(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "gpu.json"
    path.mkdir()
    assert not Memory(path, GPU, "boot").keep(())
    assert list(tmp_path.iterdir()) == [path]
