"""The inventory follows the host: device nodes come and go below a host root, and a kubelet is told. FIFOs stand for devices: they need no root."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
import threading
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from nri_cdi.cdi import ContainerEdits, DeviceNode
from nri_cdi.host.node_watch import NodeWatch
from nri_cdi.host.numa import Place, Sysfs
from nri_cdi.host.root import HostRoot
from nri_cdi.kubelet import api, inventory, keeper, link
from nri_cdi.kubelet.directories import Directories
from nri_cdi.kubelet.identity import Rules
from nri_cdi.kubelet.inventory import Patience
from nri_cdi.kubelet.keeper import RESCAN, Node
from nri_cdi.kubelet.service import Config, KubeletHalf
from nri_cdi.testing.kubelet import FakeKubelet, PreStartError
from nri_cdi.testing.snapshots import snapshot, spec_file

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Iterator

    from nri_cdi.cdi import HostNode, SpecFile
    from nri_cdi.testing.log import Log

GPU = "device.example.com/gpu"
SOON = 20.0
PROMPTLY = 5.0
assert PROMPTLY < RESCAN, "what is seen within this was seen by the watch, not by the rescan"


def fifo(path: str) -> ContainerEdits:
    return ContainerEdits(device_nodes=(DeviceNode(path, type="p"),))


def gpus(count: int) -> SpecFile:
    return spec_file(GPU, {f"d{i}": fifo(f"/dev/mock/d{i}") for i in range(count)})


class Host:
    """A host's file system with device nodes below /dev/mock."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        (root / "dev/mock").mkdir(parents=True)

    def make(self, *names: str) -> None:
        for name in names:
            os.mkfifo(self.root / "dev/mock" / name)

    def remove(self, *names: str) -> None:
        for name in names:
            (self.root / "dev/mock" / name).unlink()


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def kubelet(device_plugins: pathlib.Path) -> Iterator[FakeKubelet]:
    with FakeKubelet(device_plugins) as kubelet:
        yield kubelet


class Nri:
    """The NRI half, there or not."""

    def __init__(self) -> None:
        self.problem: str | None = None

    def __call__(self, _: tuple[str, ...]) -> str | None:
        return self.problem


@pytest.fixture
def make(device_plugins: pathlib.Path, host: Host) -> Iterator[Callable[..., KubeletHalf]]:
    with contextlib.ExitStack() as stack:

        def make(*files: SpecFile, nri: Nri | None = None, places: Any = None, **changes: Any) -> KubeletHalf:  # noqa: ANN401  # any field
            failed: list[str] = []
            config = Config(
                {GPU: GPU}, Directories.below(device_plugins.parent), "cdi.k8s.io/", patience=Patience(0.0, 0.0)
            )
            node = Node(HostRoot(str(host.root)), places or Sysfs(str(host.root)), str(host.root))
            half = KubeletHalf(replace(config, **changes), node, ready=nri or Nri(), fatal=failed.append)
            stack.callback(lambda: pytest.fail(str(failed)) if failed else None)
            stack.callback(half.stop)
            half.start()
            half.update(snapshot(*files))
            return half

        yield make


def has(kubelet: FakeKubelet, count: int, timeout: float = SOON) -> None:
    kubelet.wait_for(lambda: kubelet.allocatable(GPU) == count, timeout)


def test_a_node_that_goes_and_comes_is_told_promptly(
    make: Callable[..., KubeletHalf], host: Host, kubelet: FakeKubelet, log: Log
) -> None:
    host.make("d0", "d1")
    make(gpus(2))
    has(kubelet, 2)
    host.remove("d1")
    has(kubelet, 1, PROMPTLY)
    assert kubelet.devices(GPU) == {"d0": True, "d1": False}
    log.wait_for("unhealthy: d1: /dev/mock/d1 is not there (No such file or directory)")
    host.make("d1")
    has(kubelet, 2, PROMPTLY)


def test_a_directory_of_nodes_that_comes_later_is_seen_promptly(
    make: Callable[..., KubeletHalf], host: Host, kubelet: FakeKubelet, log: Log
) -> None:
    (host.root / "dev/mock").rmdir()
    half = make(gpus(1))
    kubelet.wait_for(lambda: kubelet.capacity(GPU) == 1, SOON)
    assert kubelet.allocatable(GPU) == 0
    (host.root / "dev/mock").mkdir()
    host.make("d0")
    has(kubelet, 1, PROMPTLY)
    log.wait_for("registered with the kubelet")
    assert half.problem() is None


def test_a_node_that_is_replaced_by_something_else_is_unhealthy(
    make: Callable[..., KubeletHalf], host: Host, kubelet: FakeKubelet
) -> None:
    host.make("d0", "d1")
    make(gpus(2))
    has(kubelet, 2)
    host.remove("d1")
    (host.root / "dev/mock/d1").write_text("no device")
    has(kubelet, 1, PROMPTLY)


def test_a_start_is_held_with_the_reason_while_its_device_settles_and_goes_on_when_the_node_is_there(
    make: Callable[..., KubeletHalf], host: Host, kubelet: FakeKubelet, log: Log
) -> None:
    host.make("d0")
    half = make(gpus(1))
    has(kubelet, 1)
    ids = kubelet.allocate(GPU, 1).ids
    kubelet.prestart(GPU, ids)
    half.stop()
    kubelet.restart()
    host.remove("d0")
    make(gpus(1), patience=Patience(60.0, 0.0))
    has(kubelet, 1)
    log.wait_for("healthy while they settle, their containers are held: d0: /dev/mock/d0 is not there")
    with pytest.raises(PreStartError, match=f"{GPU}=d0: /dev/mock/d0 is not there"):
        kubelet.prestart(GPU, ids)
    host.make("d0")
    kubelet.prestart(GPU, ids)


def test_with_pre_start_off_no_start_is_held(
    make: Callable[..., KubeletHalf], host: Host, kubelet: FakeKubelet
) -> None:
    host.make("d0")
    nri = Nri()
    make(gpus(1), nri=nri, pre_start=False)
    has(kubelet, 1)
    ids = kubelet.allocate(GPU, 1).ids
    nri.problem = "not synchronised"
    host.remove("d0")
    kubelet.prestart(GPU, ids)


def test_what_settles_becomes_unhealthy_when_its_time_is_over(
    make: Callable[..., KubeletHalf], host: Host, kubelet: FakeKubelet
) -> None:
    host.make("d0")
    half = make(gpus(1), patience=Patience(0.0, 0.3))
    has(kubelet, 1)
    half.update(snapshot(rejected=["/etc/cdi/device.example.com-gpu.yaml"]))
    has(kubelet, 0, PROMPTLY)
    assert kubelet.capacity(GPU) == 1


def test_devices_are_unhealthy_when_the_nri_half_stays_away_and_healthy_when_it_is_back(
    make: Callable[..., KubeletHalf], host: Host, kubelet: FakeKubelet, log: Log
) -> None:
    host.make("d0", "d1")
    nri = Nri()
    make(gpus(2), nri=nri, unhealthy_after=0.5)
    has(kubelet, 2)
    nri.problem = "no NRI half of nri-cdi runs on this node"
    has(kubelet, 0)
    log.wait_for("unhealthy: d0, d1: the NRI half of nri-cdi is away for more than 0.5 s: no NRI half of nri-cdi runs")
    nri.problem = None
    has(kubelet, 2)


def test_an_nri_half_that_is_away_is_in_the_log_long_before_devices_suffer(
    make: Callable[..., KubeletHalf], log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "UNSAID", 0.1)
    monkeypatch.setattr(keeper, "ASK", 0.05)
    nri = Nri()
    nri.problem = "no NRI half of nri-cdi runs on this node"
    make(nri=nri)
    log.wait_for("the NRI half has not been there for 0.1 s: no NRI half of nri-cdi runs on this node")
    nri.problem = None
    log.wait_for("the NRI half is there again")
    assert log.count("the NRI half") == 2


def test_what_was_advertised_is_remembered_beside_the_kubelets_sockets(
    make: Callable[..., KubeletHalf], host: Host, kubelet: FakeKubelet, device_plugins: pathlib.Path
) -> None:
    host.make("d0")
    half = make(gpus(2))
    has(kubelet, 1)
    memory = device_plugins / "nri-cdi_device.example.com_gpu.json"

    def kept() -> dict[str, bool]:
        with contextlib.suppress(FileNotFoundError):
            devices = json.loads(memory.read_text())["devices"]
            return {device: said["healthy"] for device, said in devices.items()}
        return {}

    changed = threading.Event()
    for _ in range(200):
        if kept() == {"d0": True, "d1": False}:
            break
        changed.wait(0.1)  # nobody tells of a file
    assert kept() == {"d0": True, "d1": False}
    half.stop()
    kubelet.restart()
    assert memory.exists()  # the kubelet removes sockets only


class OneNode:
    """All devices sit on NUMA node 1."""

    def place(self, node: HostNode) -> Place:  # noqa: ARG002  # wherever
        return Place(1, "pci0000:80")


def test_the_numa_node_is_told(make: Callable[..., KubeletHalf], host: Host, kubelet: FakeKubelet) -> None:
    host.make("d0")
    half = make(gpus(1), places=OneNode())
    has(kubelet, 1)
    assert half.resources[0].devices[0].place == Place(1, "pci0000:80")
    assert kubelet.numa_nodes(GPU) == {"d0": (1,)}


def test_only_what_the_rules_let_through_reaches_the_kubelet(
    make: Callable[..., KubeletHalf], host: Host, kubelet: FakeKubelet, log: Log
) -> None:
    host.make("d0", "d1")
    make(
        spec_file(GPU, {"0": fifo("/dev/mock/d0"), "1": fifo("/dev/mock/d1"), "uuid-0": fifo("/dev/mock/d0")}),
        rules=Rules(prefer=("*=uuid-*",)),
    )
    has(kubelet, 2)
    assert sorted(kubelet.devices(GPU)) == ["1", "uuid-0"]
    log.wait_for(f"not advertised: {GPU}=0: it is the same host device as {GPU}=uuid-0 (/dev/mock/d0)")


_opened: list[str] = []
_listening = threading.Event()


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if _listening.is_set() and event in {"open", "os.listdir", "os.scandir", "subprocess.Popen", "import"}:
        _opened.append(f"{event} {arguments[:1]}")


def test_allocate_and_the_preference_read_no_file(
    make: Callable[..., KubeletHalf], host: Host, kubelet: FakeKubelet
) -> None:
    host.make("d0", "d1")
    half = make(gpus(2))
    has(kubelet, 2)
    plugin = half._offered[GPU].plugin
    allocation = api.AllocateRequest(container_requests=[api.ContainerAllocateRequest(devices_ids=["d0", "d1"])])
    asked = api.ContainerPreferredAllocationRequest(available_deviceIDs=["d0", "d1"], allocation_size=1)
    preference = api.PreferredAllocationRequest(container_requests=[asked])
    context: Any = None
    sys.addaudithook(_hook)
    half._keeper.stop()  # it looks at the host by itself
    _listening.set()
    try:
        answer = plugin._allocate(allocation, context)
        preferred = plugin._preferred(preference, context)
        read = _opened.copy()
        os.scandir(host.root).close()  # the hook sees what is read
    finally:
        _listening.clear()
    assert (read, len(_opened)) == ([], 1)
    assert len(answer.container_responses) == 1
    assert list(preferred.container_responses[0].deviceIDs) == ["d0"]


def test_of_many_nodes_that_nobody_watches_each_is_looked_at_in_its_turn(
    make: Callable[..., KubeletHalf], host: Host, kubelet: FakeKubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "RESCAN", 0.2)
    monkeypatch.setattr(keeper, "PART", 2)
    monkeypatch.setattr(keeper.Keeper, "_watch_nodes", lambda _self, _new, _gone: None)
    host.make(*(f"d{number}" for number in range(7)))
    make(gpus(7))
    has(kubelet, 7)
    host.remove("d0", "d3", "d6")
    has(kubelet, 4)
    host.make("d6")
    kubelet.wait_for(lambda: kubelet.devices(GPU)["d6"], SOON)


def test_every_node_is_looked_at_in_its_turn_whatever_else_happens(
    make: Callable[..., KubeletHalf], host: Host, kubelet: FakeKubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "RESCAN", 0.2)
    monkeypatch.setattr(keeper.Keeper, "_watch_nodes", lambda _self, _new, _gone: None)
    host.make("d0", "d1")
    half = make(gpus(2))
    has(kubelet, 2)
    over = threading.Event()

    def disturb() -> None:
        while not over.wait(0.01):  # much more often than it looks by itself
            half._keeper.wake()

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        host.remove("d1")
        has(kubelet, 1)
    finally:
        over.set()
        thread.join()


def test_nodes_that_the_kernel_does_not_watch_are_watched_as_soon_as_it_does(
    make: Callable[..., KubeletHalf], host: Host, kubelet: FakeKubelet, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = threading.Event()
    full.set()

    def watch(paths: Any, root: str) -> NodeWatch:  # noqa: ANN401  # as NodeWatch has it
        if full.is_set():
            raise OSError(errno.ENOSPC, "no space left for watches")
        return NodeWatch(paths, root)

    monkeypatch.setattr(keeper, "RESCAN", 0.2)
    monkeypatch.setattr(keeper, "NodeWatch", watch)
    host.make("d0", "d1")
    make(gpus(2))
    has(kubelet, 2)
    log.wait_for("the kernel does not watch the device nodes")
    full.clear()
    log.wait_for("the kernel watches the device nodes again")
    monkeypatch.setattr(keeper, "RESCAN", RESCAN)
    host.remove("d1")
    has(kubelet, 1, PROMPTLY)
    assert log.count("the kernel does not watch the device nodes") == 1


def _lists(kubelet: FakeKubelet, devices: dict[str, bool]) -> bool:
    return kubelet.devices(GPU) == devices


def test_nodes_of_devices_that_are_forgotten_are_forgotten(
    make: Callable[..., KubeletHalf], host: Host, kubelet: FakeKubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory, "FORGET", 0.0)
    monkeypatch.setattr(keeper, "RESCAN", 0.1)
    host.make(*(f"d{number}" for number in range(5)))
    half = make(gpus(1))
    for name in ("d1", "d2", "d3", "d4"):
        half.update(snapshot(spec_file(GPU, {name: fifo(f"/dev/mock/{name}")})))
        kubelet.wait_for(partial(_lists, kubelet, {name: True}), SOON)
    assert half._keeper._nodes.keys() <= {"/dev/mock/d3", "/dev/mock/d4"}, "at the next change those of before go"
