"""The kubelet half against a kubelet, over real sockets."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING

import grpc
import pytest
from lab.trouble import wait_until

from nri_cdi.host.numa import Sysfs
from nri_cdi.host.root import HostRoot
from nri_cdi.kubelet import api, loop, registration, standing
from nri_cdi.kubelet.directories import Directories
from nri_cdi.kubelet.inventory import Patience
from nri_cdi.kubelet.keeper import Node
from nri_cdi.kubelet.plugin import Answers, CannotServe, DevicePlugin
from nri_cdi.kubelet.registration import Registration
from nri_cdi.kubelet.service import Config, KubeletHalf
from nri_cdi.kubelet.told import Resource
from nri_cdi.testing.kubelet import FakeKubelet
from nri_cdi.testing.plugin_client import address
from nri_cdi.testing.snapshots import snapshot, spec_file

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Iterator, Sequence

    from nri_cdi.cdi import Snapshot
    from nri_cdi.kubelet.plugin import Ready
    from nri_cdi.testing.log import Log

GPU, NIC = "device.example.com/gpu", "vendor.com/nic"
GPU_SOCKET = "nri-cdi_device.example.com_gpu.sock"
SOON = 20.0
NODE = Node(HostRoot(), Sysfs())


def specs(gpus: int, nics: int = 0) -> Snapshot:
    """A snapshot with so many devices of each kind."""
    files = [(GPU, [f"device_{i}" for i in range(gpus)]), (NIC, [f"nic{i}" for i in range(nics)])]
    return snapshot(*(spec_file(kind, names) for kind, names in files if names))


class Fatal(list[str]):
    """What `fatal` was told."""

    def __init__(self) -> None:
        super().__init__()
        self.told = threading.Event()

    def __call__(self, reason: str) -> None:
        self.append(reason)
        self.told.set()


@pytest.fixture
def make(device_plugins: pathlib.Path) -> Iterator[Callable[..., KubeletHalf]]:
    """Makes halves and stops them in the end; none of their threads may have ended on its own."""
    with contextlib.ExitStack() as stack:

        def make(
            gpus: int = 8, nics: int = 0, kinds: Sequence[str] = (GPU,), ready: Ready = lambda _: None
        ) -> KubeletHalf:
            fatal = Fatal()
            half = KubeletHalf(config(device_plugins, *kinds), NODE, ready=ready, fatal=fatal)
            stack.callback(lambda: pytest.fail(str(fatal)) if fatal else None)
            stack.callback(half.stop)
            half.start()
            half.update(specs(gpus, nics))
            return half

        yield make


@pytest.fixture
def kubelet(device_plugins: pathlib.Path) -> Iterator[FakeKubelet]:
    with FakeKubelet(device_plugins) as kubelet:
        yield kubelet


def config(device_plugins: pathlib.Path, *kinds: str) -> Config:
    directories = Directories.below(device_plugins.parent)
    return Config({kind: kind for kind in kinds}, directories, "cdi.k8s.io/", patience=Patience(0.0, 0.0))


def has(kubelet: FakeKubelet, count: int, resource: str = GPU) -> None:
    """Waits until the resource has so many allocatable devices."""
    kubelet.wait_for(lambda: kubelet.allocatable(resource) == count, SOON)


def test_devices_are_advertised_allocated_and_started(make: Callable[..., KubeletHalf], kubelet: FakeKubelet) -> None:
    asked: list[tuple[str, ...]] = []

    def ready(names: tuple[str, ...]) -> str | None:
        if names:  # without, it is asked how the NRI half is
            asked.append(names)
        return None

    half = make(ready=ready)
    has(kubelet, 8)
    ids, response = kubelet.allocate(GPU, 4)
    assert ids == ("device_0", "device_1", "device_2", "device_3")
    ((key, value),) = response.annotations.items()
    assert key.startswith("cdi.k8s.io/nri-cdi.v1_")
    assert value == ",".join(f"{GPU}={device}" for device in ids)
    assert [mount.host_path for mount in response.mounts] == ["/dev/null", "/dev/null"]
    kubelet.prestart(GPU, ids)
    assert asked == [tuple(f"{GPU}={device}" for device in ids)]
    wait_until(lambda: half.registered == {GPU: True}, SOON, "what Register answered, to be noted")
    assert repr(half) == f"<KubeletHalf {GPU}: 1 registered>"


def test_the_kubelet_can_dial_the_socket_while_register_waits(
    make: Callable[..., KubeletHalf], kubelet: FakeKubelet
) -> None:
    make()
    has(kubelet, 8)
    (registered,) = kubelet.registrations
    assert (registered.resource, registered.endpoint, registered.version, registered.refusal) == (
        GPU,
        GPU_SOCKET,
        "v1beta1",
        None,
    )


def test_each_new_snapshot_reaches_the_kubelet_and_a_device_that_vanished_is_unhealthy(
    make: Callable[..., KubeletHalf], kubelet: FakeKubelet, log: Log
) -> None:
    half = make(gpus=3)
    has(kubelet, 3)
    half.update(specs(2))
    has(kubelet, 2)
    assert kubelet.devices(GPU) == {"device_0": True, "device_1": True, "device_2": False}
    half.update(specs(12))
    has(kubelet, 12)
    assert list(kubelet.devices(GPU)) == [f"device_{i}" for i in range(12)]
    assert log.count("unhealthy: device_2") == 1


def test_two_resources_are_registered_apart_and_their_keys_differ(
    make: Callable[..., KubeletHalf], kubelet: FakeKubelet
) -> None:
    make(gpus=2, nics=3, kinds=[GPU, NIC])
    has(kubelet, 2)
    has(kubelet, 3, NIC)
    answers = [kubelet.allocate(GPU, 1), kubelet.allocate(NIC, 2), kubelet.allocate(GPU, 1)]
    keys = [key for answer in answers for key in answer.response.annotations]
    assert len(set(keys)) == 3
    assert answers[1].response.annotations[keys[1]] == f"{NIC}=nic0,{NIC}=nic1"


def test_a_kubelet_that_comes_later_is_found(
    make: Callable[..., KubeletHalf], device_plugins: pathlib.Path, log: Log
) -> None:
    make()
    log.wait_for("waiting for the kubelet")
    with FakeKubelet(device_plugins) as kubelet:
        has(kubelet, 8)
    assert log.count("waiting for the kubelet") == 1


def test_a_directory_that_is_made_later_is_found(
    make: Callable[..., KubeletHalf], device_plugins: pathlib.Path, log: Log
) -> None:
    device_plugins.rmdir()
    half = make(gpus=1)
    log.wait_for(f"{device_plugins} does not exist: waiting for the kubelet to make it (is --kubelet-dir right?)")
    device_plugins.mkdir()
    with FakeKubelet(device_plugins) as kubelet:
        has(kubelet, 1)
        half.stop()


def test_a_kubelet_that_restarts_is_registered_with_again_on_a_new_socket(
    make: Callable[..., KubeletHalf], kubelet: FakeKubelet, device_plugins: pathlib.Path
) -> None:
    make()
    has(kubelet, 8)
    before = (device_plugins / GPU_SOCKET).lstat()
    ids = kubelet.allocate(GPU, 2).ids
    for _ in range(3):
        kubelet.restart()
        assert kubelet.allocatable(GPU) == 0
        has(kubelet, 8)
    after = (device_plugins / GPU_SOCKET).lstat()
    assert (before.st_ino, before.st_ctime_ns) != (after.st_ino, after.st_ctime_ns)
    assert kubelet.in_use(GPU) == set(ids)
    assert kubelet.allocate(GPU, 1).ids == ("device_2",)
    assert {path.name for path in device_plugins.iterdir() if path.is_socket()} == {"kubelet.sock", GPU_SOCKET}


def test_a_kubelet_that_restarts_is_seen_without_waiting_for_the_next_look(
    make: Callable[..., KubeletHalf],
    kubelet: FakeKubelet,
    device_plugins: pathlib.Path,
    log: Log,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registration, "POLL", 3 * SOON)
    make()
    has(kubelet, 8)
    for times in (1, 2, 3):
        kubelet.stop()
        (device_plugins / "kubelet.sock").unlink(missing_ok=True)
        log.wait_for("kubelet.sock is not there: waiting for the kubelet", times)
        kubelet.restart()
        has(kubelet, 8)
    registrations = len(kubelet.registrations)
    (device_plugins / GPU_SOCKET).unlink()
    kubelet.wait_for(lambda: len(kubelet.registrations) > registrations, SOON)
    has(kubelet, 8)


def test_a_kubelet_that_is_down_for_a_while_is_waited_for_and_said_once(
    make: Callable[..., KubeletHalf], kubelet: FakeKubelet, log: Log
) -> None:
    make()
    has(kubelet, 8)
    kubelet.stop()
    log.wait_for("kubelet.sock: nobody serves there (Connection refused); trying again")
    kubelet.restart()
    has(kubelet, 8)
    assert log.count("not registered with the kubelet") == 1


def test_a_kubelet_that_is_down_is_an_error_only_when_it_lasts(
    make: Callable[..., KubeletHalf],
    kubelet: FakeKubelet,
    log: Log,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(standing, "pause", lambda _doublings: 0.0)
    make()
    has(kubelet, 8)
    kubelet.stop()
    log.wait_for(
        "nobody has served there for half a minute (Connection refused), is the kubelet running?; trying again"
    )

    def said() -> list[str]:
        return [one.levelname for one in caplog.records if "not registered with the kubelet" in one.getMessage()]

    wait_until(lambda: len(said()) == 2, SOON, "the record of it, which another handler makes")
    assert said() == ["WARNING", "ERROR"]
    kubelet.restart()
    has(kubelet, 8)


def test_the_older_instance_of_a_resource_ends_and_the_newer_registers_again(
    make: Callable[..., KubeletHalf], kubelet: FakeKubelet, device_plugins: pathlib.Path, log: Log
) -> None:
    older = make(gpus=8)
    has(kubelet, 8)
    make(gpus=5)
    has(kubelet, 5)  # the three others are remembered, and not there
    log.wait_for("another instance serves this resource now")
    older.stop()
    log.wait_for("registered with the kubelet (it had ended ListAndWatch)")
    has(kubelet, 5)
    assert (device_plugins / GPU_SOCKET).is_socket()
    assert kubelet.allocate(GPU, 1).ids == ("device_0",)


def test_the_newer_instance_ends_and_the_older_takes_its_place_again(
    make: Callable[..., KubeletHalf], kubelet: FakeKubelet, log: Log
) -> None:
    make(gpus=8)
    has(kubelet, 8)
    newer = make(gpus=5)
    has(kubelet, 5)  # the three others are remembered, and not there
    log.wait_for("another instance serves this resource now")
    newer.stop()
    has(kubelet, 8)
    assert kubelet.allocate(GPU, 6).ids[-1] == "device_5"


def test_another_plugin_that_had_our_resource_ends_and_we_register_again(
    make: Callable[..., KubeletHalf], kubelet: FakeKubelet, device_plugins: pathlib.Path, log: Log
) -> None:
    other = DevicePlugin(
        Resource("other.com/x", GPU), device_plugins, Answers("x/", guard=False, ready=lambda _: None), lambda: None
    )
    other.bind()
    with grpc.insecure_channel(address(device_plugins / "kubelet.sock")) as channel:
        channel.unary_unary(
            "/v1beta1.Registration/Register", api.RegisterRequest.SerializeToString, api.Empty.FromString
        )(api.RegisterRequest(version="v1beta1", endpoint=other.path.name, resource_name=GPU), timeout=SOON)
    kubelet.wait_for(lambda: kubelet.streams(GPU) == 1, SOON)
    make()
    has(kubelet, 8)
    other.close()
    log.wait_for("registered with the kubelet (it had ended ListAndWatch)")
    has(kubelet, 8)
    kubelet.wait_for(lambda: kubelet.streams(GPU) == 1, SOON)


def test_a_socket_that_somebody_removed_is_made_again_and_nothing_was_missed_meanwhile(
    make: Callable[..., KubeletHalf], kubelet: FakeKubelet, device_plugins: pathlib.Path, log: Log
) -> None:
    half = make()
    has(kubelet, 8)
    (device_plugins / GPU_SOCKET).unlink()
    kubelet.wait_for(lambda: len(kubelet.registrations) == 2, SOON)
    log.wait_for("serving on", 2)
    log.wait_for("(the old socket is gone)")
    log.wait_for("registered with the kubelet (our socket is new)", 2)
    kubelet.wait_for(
        lambda: kubelet.streams(GPU) == 2, SOON
    )  # the old connection is not cut: Allocate may come over it
    assert (device_plugins / GPU_SOCKET).is_socket()
    half.update(specs(9))
    has(kubelet, 9)
    assert kubelet.allocate(GPU, 1).ids == ("device_0",)


def test_a_dead_socket_that_a_killed_instance_left_is_replaced(
    make: Callable[..., KubeletHalf], kubelet: FakeKubelet, device_plugins: pathlib.Path
) -> None:
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(device_plugins / GPU_SOCKET))
    make()
    has(kubelet, 8)


def test_a_refused_registration_is_said_once_and_tried_again(
    kubelet: FakeKubelet, device_plugins: pathlib.Path, log: Log
) -> None:
    wake, fatal = threading.Event(), Fatal()
    answers = Answers("x/", guard=False, ready=lambda _: None)
    plugin = DevicePlugin(Resource("gpu", "gpu"), device_plugins, answers, wake.set)
    register = Registration(plugin, device_plugins / "kubelet.sock", wake, fatal)
    register.start()
    kubelet.wait_for(lambda: len(kubelet.registrations) >= 3, SOON)
    register.stop()
    plugin.close()
    assert [line for line in log.lines if "not registered" in line] == [
        (
            f"gpu: not registered with the kubelet at {device_plugins}/kubelet.sock: "
            'the ResourceName "gpu" is invalid (UNKNOWN); trying again'
        )
    ]
    assert not fatal


def test_a_kubelet_that_starts_while_we_are_about_to_register_is_not_told_of_the_socket_that_it_removed(
    kubelet: FakeKubelet, device_plugins: pathlib.Path, log: Log
) -> None:
    wake, fatal, asked = threading.Event(), Fatal(), list[str]()
    plugin = DevicePlugin(
        Resource(GPU, GPU), device_plugins, Answers("x/", guard=False, ready=lambda _: None), wake.set
    )

    def elsewhere() -> None:
        """The question whether another plugin offers the resource, in the midst of which a kubelet starts."""
        asked.append("")
        if len(asked) == 1:
            kubelet.restart()

    register = Registration(plugin, device_plugins / "kubelet.sock", wake, fatal, elsewhere)
    register.start()
    try:
        log.wait_for("registered with the kubelet (our socket is new)")
    finally:
        register.stop()
        plugin.close()
    assert [line for line in log.lines if "not registered" in line] == []
    assert not fatal


def test_stopping_removes_our_sockets_and_all_threads_within_a_second_also_in_the_middle_of_register(
    make: Callable[..., KubeletHalf], device_plugins: pathlib.Path
) -> None:
    threads = set(threading.enumerate())
    with socket.socket(socket.AF_UNIX) as silent:  # it accepts and never answers
        silent.bind(str(device_plugins / "kubelet.sock"))
        silent.listen()
        half = make(nics=1, kinds=[GPU, NIC])
        connections = [silent.accept()[0] for _ in range(2)]
        began = time.monotonic()
        half.stop()
        assert time.monotonic() - began < 1.0
        for connection in connections:
            connection.close()
    assert [path.name for path in device_plugins.iterdir()] == ["kubelet.sock"]
    left = [thread for thread in threading.enumerate() if thread not in threads and "registration" in thread.name]
    assert left == []


def test_a_registration_thread_that_ends_tells_why(
    kubelet: FakeKubelet,  # noqa: ARG001  # it serves
    device_plugins: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(path: pathlib.Path) -> None:
        raise ValueError(f"no look at {path.name}")

    monkeypatch.setattr(loop, "socket_id", broken)
    fatal = Fatal()
    half = KubeletHalf(config(device_plugins, GPU), NODE, ready=lambda _: None, fatal=fatal)
    half.start()
    half.update(specs(1))
    assert fatal.told.wait(SOON)
    half.stop()
    assert fatal == [f"the registration of {GPU} ended: ValueError: no look at kubelet.sock"]


def test_a_directory_that_refuses_our_socket_is_said_with_the_reason_and_tried_again(
    make: Callable[..., KubeletHalf], kubelet: FakeKubelet, device_plugins: pathlib.Path, log: Log
) -> None:
    obstacle = device_plugins / GPU_SOCKET
    obstacle.mkdir()
    make()
    log.wait_for(f"cannot serve on {obstacle}: Is a directory; trying again")
    obstacle.rmdir()
    has(kubelet, 8)
    assert log.count("Is a directory") == 1
    assert {path.name for path in device_plugins.iterdir() if path.is_socket()} == {"kubelet.sock", GPU_SOCKET}


def test_before_the_first_device_nothing_is_registered_for_an_empty_list_would_end_waiting_pods(
    make: Callable[..., KubeletHalf], kubelet: FakeKubelet
) -> None:
    half = make(gpus=1, kinds=[GPU, NIC])
    has(kubelet, 1)
    assert [registered.resource for registered in kubelet.registrations] == [GPU]
    wait_until(lambda: half.registered == {GPU: True, NIC: False}, SOON, "what Register answered, to be noted")
    half.update(specs(1, nics=2))
    has(kubelet, 2, NIC)
    assert kubelet.allocatable(GPU) == 1


def test_a_directory_too_long_for_a_socket_is_an_error_that_says_what_to_do(device_plugins: pathlib.Path) -> None:
    deep = device_plugins / ("d" * 90) / "device-plugins"
    with pytest.raises(
        CannotServe, match=r"has \d+ bytes, a unix socket's path has at most 107: name the resource shorter"
    ):
        KubeletHalf(config(deep, GPU), NODE, ready=lambda _: None, fatal=Fatal())
