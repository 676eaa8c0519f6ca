"""A kubelet with another --root-dir keeps device-plugins where every kubelet has it; the other directories move."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from nri_cdi.host.numa import Sysfs
from nri_cdi.host.root import HostRoot
from nri_cdi.kubelet import directories
from nri_cdi.kubelet.directories import Directories
from nri_cdi.kubelet.inventory import Patience
from nri_cdi.kubelet.keeper import Node
from nri_cdi.kubelet.service import Config, KubeletHalf
from nri_cdi.testing.kubelet import FakeKubelet
from nri_cdi.testing.snapshots import snapshot, spec_file

if TYPE_CHECKING:
    import pathlib

    from nri_cdi.testing.log import Log

GPU = "device.example.com/gpu"
SOON = 20.0


@pytest.fixture
def constant(device_plugins: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """What stands for the kubelet's constant."""
    monkeypatch.setattr(directories, "DEVICE_PLUGINS", device_plugins)
    return device_plugins


def test_device_plugins_is_below_the_root_dir_only_where_it_is(constant: pathlib.Path, tmp_path: pathlib.Path) -> None:
    assert Directories.of(tmp_path) == Directories(constant, tmp_path / "plugins_registry", tmp_path / "pod-resources")
    (tmp_path / "device-plugins").mkdir()
    assert Directories.of(str(tmp_path)) == Directories.below(tmp_path)


def test_a_kubelet_that_never_ran_is_waited_for_in_the_ordinary_place() -> None:
    kubelet = directories.DEVICE_PLUGINS.parent
    assert Directories.of(kubelet) == Directories.below(kubelet)


@pytest.mark.parametrize("registry", [False, True])
def test_with_another_root_dir_devices_are_registered_and_remembered(
    constant: pathlib.Path, log: Log, *, registry: bool
) -> None:
    (root := constant.parent / "root").mkdir()  # short, because a unix socket's path has at most 107 bytes
    (root / "plugins_registry").mkdir()
    config = Config({GPU: GPU}, Directories.of(root), "x/", registry=registry, patience=Patience(0.0, 0.0))
    failed: list[str] = []
    half = KubeletHalf(config, Node(HostRoot(), Sysfs()), ready=lambda _: None, fatal=failed.append)
    with FakeKubelet(constant, registry=root / "plugins_registry") as kubelet:
        half.start()
        half.update(snapshot(spec_file(GPU, ["d0", "d1"])))
        kubelet.wait_for(lambda: kubelet.allocatable(GPU) == 2, SOON)
        memory, pause = constant / "nri-cdi_device.example.com_gpu.json", threading.Event()
        for _ in range(200):
            if memory.exists():
                break
            pause.wait(0.1)  # nobody tells of a file
        assert sorted(json.loads(memory.read_text())["devices"]) == ["d0", "d1"]
        half.stop()
    assert log.count("cannot be written") == 0
    assert failed == []
