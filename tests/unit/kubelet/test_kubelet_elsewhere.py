"""A resource that the node offers through another plugin is not registered; and what is remembered of our own."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import pytest

from nri_cdi.host.numa import Sysfs
from nri_cdi.host.root import HostRoot
from nri_cdi.kubelet import api as plugin_api
from nri_cdi.kubelet import elsewhere as elsewheres
from nri_cdi.kubelet import podresources_api as api
from nri_cdi.kubelet import standing
from nri_cdi.kubelet.candidates import Candidate
from nri_cdi.kubelet.elsewhere import Count, Elsewhere, offered
from nri_cdi.kubelet.keeper import Node
from nri_cdi.kubelet.memory import Memory, boot_id
from nri_cdi.kubelet.plugin import Answers, DevicePlugin
from nri_cdi.kubelet.service import Config, KubeletHalf
from nri_cdi.kubelet.standing import Counted
from nri_cdi.kubelet.told import Device, Resource
from nri_cdi.testing.kubelet import FakeKubelet
from nri_cdi.testing.plugin_client import address
from nri_cdi.testing.snapshots import snapshot, spec_file

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Iterator

    from nri_cdi.testing.log import Log

GPU = "device.example.com/gpu"
SOON = 20.0
SOCKET_PARTS = ("pod-resources", "kubelet.sock")


class PodResources:
    """The kubelet's pod resources service: what the node offers is set in `devices`, or is what `kubelet` has."""

    def __init__(self, path: pathlib.Path) -> None:
        path.parent.mkdir(exist_ok=True)
        self.devices: dict[str, list[str]] = {}
        self.kubelet: FakeKubelet | None = None
        self._server = grpc.server(ThreadPoolExecutor(2))
        handler = grpc.unary_unary_rpc_method_handler(
            self._allocatable,
            api.AllocatableResourcesRequest.FromString,
            api.AllocatableResourcesResponse.SerializeToString,
        )
        service = grpc.method_handlers_generic_handler("v1.PodResourcesLister", {"GetAllocatableResources": handler})
        self._server.add_generic_rpc_handlers((service,))
        self._server.add_insecure_port(address(path))
        self._server.start()

    def stop(self) -> None:
        self._server.stop(0).wait()

    def _allocatable(
        self, _request: api.AllocatableResourcesRequest, _context: grpc.ServicerContext
    ) -> api.AllocatableResourcesResponse:
        if self.kubelet is not None:
            self.devices = {
                resource: [device for device, healthy in self.kubelet.devices(resource).items() if healthy]
                for resource in self.kubelet.resources
            }
        return api.AllocatableResourcesResponse(
            devices=[
                api.ContainerDevices(resource_name=resource, device_ids=[device])
                for resource, devices in self.devices.items()
                for device in devices
            ]
        )


@pytest.fixture
def pod_resources(device_plugins: pathlib.Path) -> Iterator[PodResources]:
    service = PodResources(device_plugins.parent.joinpath(*SOCKET_PARTS))
    yield service
    service.stop()


def test_what_the_node_offers_is_asked_and_a_kubelet_that_does_not_say_is_none(
    pod_resources: PodResources, device_plugins: pathlib.Path
) -> None:
    path = device_plugins.parent.joinpath(*SOCKET_PARTS)
    pod_resources.devices = {GPU: ["a", "b"], "other.com/x": ["c"]}
    assert offered(path, GPU) == frozenset(("a", "b"))
    assert offered(path, "nobody.com/y") == frozenset()
    pod_resources.stop()
    assert offered(path, GPU) is None
    assert offered(device_plugins / "nosuch.sock", GPU) is None


NEW_KUBELET = "a new kubelet"


@pytest.mark.parametrize(
    ("ours", "steps"),
    [
        pytest.param([], [(None, False), ([], False), (["x"], True), ([], False)], id="another plugin, and its end"),
        pytest.param(["x"], [(["x", "y"], False)], id="an instance of ours"),
        pytest.param([], [(["x"], True), (NEW_KUBELET, True), ([], True), (None, True)], id="a kubelet that forgot it"),
        pytest.param([], [([], False), (NEW_KUBELET, False), ([], False)], id="a new kubelet that never had one"),
        pytest.param([], [(["x"], True), (None, True)], id="a kubelet that does not say"),
    ],
)
def test_a_resource_is_elsewhere_while_another_plugin_offers_it(
    monkeypatch: pytest.MonkeyPatch,
    device_plugins: pathlib.Path,
    ours: list[str],
    steps: list[tuple[list[str] | str | None, bool]],
) -> None:
    path = device_plugins / "x"
    path.touch()
    elsewhere = Elsewhere(path, GPU, ours)
    for found, there in steps:
        if found == NEW_KUBELET:
            path.rename(device_plugins / "old")
            path.touch()
            continue
        said = None if found is None else frozenset(found)
        monkeypatch.setattr(elsewheres, "offered", lambda _path, _resource, said=said: said)
        assert bool(elsewhere()) == there


@pytest.fixture
def half(device_plugins: pathlib.Path) -> Iterator[Callable[[], KubeletHalf]]:
    made: list[KubeletHalf] = []

    def make() -> KubeletHalf:
        config = Config({GPU: GPU}, device_plugins.parent, "x/")
        made.append(KubeletHalf(config, Node(HostRoot(), Sysfs()), ready=lambda _: None, fatal=pytest.fail))
        made[-1].start()
        made[-1].update(snapshot(spec_file(GPU, ["d0", "d1"])))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def test_another_plugins_resource_is_not_registered_until_that_plugin_has_gone(
    half: Callable[[], KubeletHalf], pod_resources: PodResources, device_plugins: pathlib.Path, log: Log
) -> None:
    pod_resources.devices = {GPU: ["GPU-1", "GPU-2"]}
    with FakeKubelet(device_plugins) as kubelet:
        half()
        log.wait_for(
            f"{GPU}: not registered: this node offers {GPU} already through another device plugin (devices GPU-1, GPU-2); "
            "remove that plugin, or give ours another name: --resource KIND=RESOURCE"
        )
        assert kubelet.registrations == ()
        pod_resources.devices = {}
        kubelet.wait_for(lambda: kubelet.allocatable(GPU) == 2, SOON)


OURS, THEIRS, NOBODYS = Counted.OURS, Counted.THEIRS, Counted.NOBODYS


@pytest.mark.parametrize(
    ("healthy", "steps"),
    [
        pytest.param(True, [(["x"], OURS), (["x"], THEIRS), (["x"], THEIRS)], id="another plugin, seen twice"),
        pytest.param(True, [(["x"], OURS), (["d0"], OURS), (["x"], OURS)], id="only in passing"),
        pytest.param(True, [(["x", "d0"], OURS), (["x", "d0"], OURS)], id="devices of an instance of ours"),
        pytest.param(True, [([], OURS), ([], NOBODYS), (["d0"], NOBODYS), (["d0"], OURS)], id="none, and ours again"),
        pytest.param(False, [([], OURS), ([], OURS)], id="none, and ours are not healthy"),
        pytest.param(True, [(["x"], OURS), (["x"], THEIRS), (None, THEIRS), (None, OURS)], id="a kubelet that ends"),
    ],
)
def test_whose_devices_the_kubelet_counts_is_believed_when_it_is_seen_twice(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: pathlib.Path,
    *,
    healthy: bool,
    steps: list[tuple[list[str] | None, Counted]],
) -> None:
    monkeypatch.setattr(elsewheres, "ASK", 0.0)
    monkeypatch.setattr(elsewheres, "ASK_AGAIN", 0.0)
    count = Count(tmp_path / "x", GPU, lambda: {"d0": healthy})
    for found, counted in steps:
        said = None if found is None else frozenset(found)
        monkeypatch.setattr(elsewheres, "offered", lambda _path, _resource, said=said: said)
        assert count() is counted


def test_while_all_is_well_the_kubelet_is_not_asked_all_the_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    asked: list[str] = []

    def offers(_path: pathlib.Path, resource: str) -> frozenset[str]:
        asked.append(resource)
        return frozenset({"d0"})

    monkeypatch.setattr(elsewheres, "offered", offers)
    count = Count(tmp_path / "x", GPU, lambda: {"d0": True})
    assert [count() for _ in range(5)] == [OURS] * 5
    assert asked == [GPU]


def test_another_plugin_that_registers_after_us_is_said_and_let_be_and_followed_when_it_ends(
    half: Callable[[], KubeletHalf],
    pod_resources: PodResources,
    device_plugins: pathlib.Path,
    log: Log,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("ASK", "ASK_AGAIN"):
        monkeypatch.setattr(elsewheres, name, 0.05)
    monkeypatch.setattr(standing, "STREAM_PATIENCE", 2.0)  # well over what it takes to see twice how things are
    directory = device_plugins / "other"
    directory.mkdir()
    theirs = Resource(GPU, "other.com/gpu", tuple(Device(f"x{n}", f"other.com/gpu=x{n}") for n in range(3)))
    other = DevicePlugin(theirs, directory, Answers("y/", guard=False, ready=lambda _: None), lambda: None)
    with FakeKubelet(device_plugins) as kubelet:
        pod_resources.kubelet = kubelet
        ours = half()
        kubelet.wait_for(lambda: kubelet.allocatable(GPU) == 2, SOON)
        other.bind()
        assert not other_register(device_plugins, f"{directory.name}/{other.path.name}")
        log.wait_for("another device plugin registered this resource after us")
        assert ours.registered == {GPU: False}
        assert f"{GPU}: another device plugin registered this resource after us" in str(ours.problem())
        ours.update(snapshot(spec_file(GPU, ["d0", "d1", "d2", "d3"])))
        log.wait_for(f"{GPU}: 4 devices, 4 healthy")
        assert kubelet.devices(GPU) == {"x0": True, "x1": True, "x2": True}
        registered = len(kubelet.registrations)

        other.close()
        log.wait_for("registered with the kubelet (it counted none of our devices)")
        kubelet.wait_for(lambda: kubelet.allocatable(GPU) == 4, SOON)
        assert len(kubelet.registrations) == registered + 1
        assert list(kubelet.allocate(GPU, 4).response.annotations.values()) == [
            ",".join(f"{GPU}=d{number}" for number in range(4))
        ]
        ours.update(snapshot(spec_file(GPU, ["d0", "d1"])))
        kubelet.wait_for(lambda: kubelet.allocatable(GPU) == 2, SOON)
        assert ours.registered == {GPU: True}


def other_register(directory: pathlib.Path, endpoint: str) -> str:
    """Register a plugin of the resource as any other program would; what is wrong."""
    request = plugin_api.RegisterRequest(version="v1beta1", endpoint=endpoint, resource_name=GPU)
    with grpc.insecure_channel(address(directory / "kubelet.sock")) as channel:
        register = channel.unary_unary(
            "/v1beta1.Registration/Register",
            plugin_api.RegisterRequest.SerializeToString,
            plugin_api.Empty.FromString,
        )
        try:
            register(request, timeout=SOON)
        except grpc.RpcError as error:
            return str(error)
    return ""


def test_what_an_instance_of_ours_offers_is_ours(
    half: Callable[[], KubeletHalf], pod_resources: PodResources, device_plugins: pathlib.Path
) -> None:
    older = Memory(device_plugins / "nri-cdi_device.example.com_gpu.json", GPU, boot_id())
    older.keep([(Candidate(f"{GPU}=d0", GPU, "d0", "f"), True)])
    pod_resources.devices = {GPU: ["d0"]}
    with FakeKubelet(device_plugins) as kubelet:
        half()
        kubelet.wait_for(lambda: kubelet.allocatable(GPU) == 2, SOON)


DEVICES = {Candidate(f"{GPU}={i}", GPU, str(i), "/etc/cdi/a.yaml"): i != 1 for i in range(3)}


def test_devices_and_their_health_are_recalled_by_the_next_process(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "gpu.json"
    first = Memory(path, GPU, "boot-1")
    assert (first.recalled, first.same_boot) == ({}, False)
    first.keep(DEVICES.items())
    again = Memory(path, GPU, "boot-1")
    assert (again.recalled, again.same_boot) == (DEVICES, True)
    assert (Memory(path, GPU, "boot-2").recalled, Memory(path, GPU, "boot-2").same_boot) == (DEVICES, False)
    assert Memory(path, "other.com/kind", "boot-1").recalled == {}
    assert [one.name for one in tmp_path.iterdir()] == ["gpu.json"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"format": 1}', f'{{"format": 1, "kind": "{GPU}", "devices": [1]}}']
)
def test_a_memory_that_cannot_be_read_is_said_and_written_anew(tmp_path: pathlib.Path, log: Log, text: str) -> None:
    path = tmp_path / "gpu.json"
    path.write_text(text)
    memory = Memory(path, GPU, "boot")
    assert memory.recalled == {}
    assert log.count(f"{path}: what was advertised before cannot be read, so it is not known") == 1
    memory.keep(DEVICES.items())
    assert Memory(path, GPU, "boot").recalled == DEVICES


def test_a_memory_of_a_later_format_is_left_unread(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "gpu.json"
    path.write_text(json.dumps({"format": 2, "kind": GPU, "boot": "boot", "devices": {"0": "?"}}))
    assert Memory(path, GPU, "boot").recalled == {}


def test_a_memory_that_cannot_be_written_is_said_once(tmp_path: pathlib.Path, log: Log) -> None:
    memory = Memory(tmp_path / "nosuch" / "gpu.json", GPU, "boot")
    memory.keep(DEVICES.items())
    memory.keep(DEVICES.items())
    assert log.count("cannot be written, so the devices are not known after a boot") == 1
