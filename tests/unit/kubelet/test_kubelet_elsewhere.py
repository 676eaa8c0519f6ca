"""A resource that the node offers through another plugin is not registered; and what is remembered of our own."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import pytest

from nri_cdi.host.numa import Sysfs
from nri_cdi.host.root import HostRoot
from nri_cdi.kubelet import elsewhere as elsewheres
from nri_cdi.kubelet import podresources_api as api
from nri_cdi.kubelet.candidates import Candidate
from nri_cdi.kubelet.elsewhere import Elsewhere, offered
from nri_cdi.kubelet.keeper import Node
from nri_cdi.kubelet.memory import Memory, boot_id
from nri_cdi.kubelet.service import Config, KubeletHalf
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
    """The kubelet's pod resources service: what the node offers is set in `devices`."""

    def __init__(self, path: pathlib.Path) -> None:
        path.parent.mkdir(exist_ok=True)
        self.devices: dict[str, list[str]] = {}
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
