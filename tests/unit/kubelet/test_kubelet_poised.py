"""When the kubelet half has done all that it can do before there is a kubelet, so that one may start: both ways of registration, no kubelet anywhere."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from lab.trouble import wait_until

from nri_cdi.host.numa import Sysfs
from nri_cdi.host.root import HostRoot
from nri_cdi.kubelet.directories import Directories
from nri_cdi.kubelet.inventory import Patience
from nri_cdi.kubelet.keeper import Node
from nri_cdi.kubelet.plugin import DevicePlugin
from nri_cdi.kubelet.service import Config, KubeletHalf
from nri_cdi.testing.snapshots import snapshot, spec_file

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Iterator

    from nri_cdi.testing.log import Log

GPU, NIC = "device.example.com/gpu", "vendor.com/nic"
SOON = 20.0
DEVICES = snapshot(spec_file(GPU, ["device_0", "device_1"]), spec_file(NIC, ["nic0"]))


@pytest.fixture(params=["kubelet.sock", "plugins-registry"])
def half(request: pytest.FixtureRequest, device_plugins: pathlib.Path) -> Iterator[KubeletHalf]:
    """A half with two resources, started, which has not been told of any spec file."""
    (device_plugins.parent / "plugins_registry").mkdir()
    config = Config(
        {GPU: GPU, NIC: NIC},
        Directories.below(device_plugins.parent),
        "cdi.k8s.io/",
        registry=request.param == "plugins-registry",
        patience=Patience(0.0, 0.0),
    )
    failed: list[str] = []
    half = KubeletHalf(config, Node(HostRoot(), Sysfs()), ready=lambda _: None, fatal=failed.append)
    half.start()
    yield half
    half.stop()
    assert failed == []


@pytest.fixture
def sockets(half: KubeletHalf) -> list[pathlib.Path]:
    """Where the sockets of its two resources will be."""
    return [half._config.sockets / f"nri-cdi_{name.replace('/', '_')}.sock" for name in (GPU, NIC)]


def is_served(path: pathlib.Path) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
        client.connect(str(path))
        return True
    return False


def is_poised(half: KubeletHalf) -> Callable[[], bool]:
    return lambda: half.poised


def test_a_half_is_poised_when_each_of_its_resources_is_served_and_not_before_it_knows_its_devices(
    half: KubeletHalf, sockets: list[pathlib.Path]
) -> None:
    assert not half.poised
    half.update(DEVICES)
    wait_until(is_poised(half), SOON, "the half to be poised")
    assert [is_served(path) for path in sockets] == [True, True]
    assert half.registered == {GPU: False, NIC: False}


def test_a_node_without_devices_is_poised(half: KubeletHalf, sockets: list[pathlib.Path]) -> None:
    half.update(snapshot())
    wait_until(is_poised(half), SOON, "the half to be poised")
    assert [path.exists() for path in sockets] == [False, False]


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, threading.Event]]:
    """The second resource comes to its socket and waits: the one event says that it has come, the other lets it go on."""
    come, leave = threading.Event(), threading.Event()
    bind = DevicePlugin.bind

    def waits(plugin: DevicePlugin) -> None:
        if plugin.name == NIC:
            come.set()
            assert leave.wait(SOON)
        bind(plugin)

    monkeypatch.setattr(DevicePlugin, "bind", waits)
    yield come, leave
    leave.set()


def test_one_resource_whose_socket_is_not_in_place_yet_is_enough_not_to_be_poised(
    gate: tuple[threading.Event, threading.Event], half: KubeletHalf, sockets: list[pathlib.Path]
) -> None:
    come, leave = gate
    half.update(DEVICES)
    assert come.wait(SOON)
    wait_until(lambda: is_served(sockets[0]), SOON, "the first resource's socket")
    assert not half.poised
    leave.set()
    wait_until(is_poised(half), SOON, "the half to be poised")
    assert is_served(sockets[1])


def test_a_socket_that_cannot_be_bound_is_still_awaited(
    half: KubeletHalf, sockets: list[pathlib.Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []
    bind = DevicePlugin.bind

    def noted(plugin: DevicePlugin) -> None:
        tried.append(plugin.name)
        bind(plugin)

    monkeypatch.setattr(DevicePlugin, "bind", noted)
    sockets[0].mkdir()
    half.update(DEVICES)
    wait_until(lambda: tried.count(GPU) > 1, SOON, "it to be tried again")
    wait_until(lambda: is_served(sockets[1]), SOON, "the other resource's socket")
    assert not half.poised
    sockets[0].rmdir()
    wait_until(is_poised(half), SOON, "the half to be poised")


def test_a_directory_that_the_kubelet_is_to_make_is_not_waited_for(
    half: KubeletHalf, sockets: list[pathlib.Path], log: Log
) -> None:
    sockets[0].parent.rmdir()
    half.update(DEVICES)
    log.wait_for("does not exist: waiting for the kubelet to make it", 2)
    wait_until(is_poised(half), SOON, "the half to be poised")
