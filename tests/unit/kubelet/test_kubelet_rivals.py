"""The half beside another plugin of its resource, and beside another instance of ours, on a kubelet that can be asked what it counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from lab.trouble import wait_until

from nri_cdi.host.numa import Sysfs
from nri_cdi.host.root import HostRoot
from nri_cdi.kubelet import api as plugin_api
from nri_cdi.kubelet import elsewhere as elsewheres
from nri_cdi.kubelet import standing
from nri_cdi.kubelet.candidates import Candidate
from nri_cdi.kubelet.directories import Directories
from nri_cdi.kubelet.inventory import Recalled
from nri_cdi.kubelet.keeper import Node
from nri_cdi.kubelet.memory import Memory, boot_id
from nri_cdi.kubelet.plugin import Answers, DevicePlugin
from nri_cdi.kubelet.service import Config, KubeletHalf
from nri_cdi.kubelet.told import Device, Resource
from nri_cdi.testing.kubelet import FakeKubelet
from nri_cdi.testing.plugin_client import address
from nri_cdi.testing.snapshots import snapshot, spec_file

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Iterator

    from nri_cdi.testing.log import Log
    from nri_cdi.testing.pod_resources import PodResources

GPU = "device.example.com/gpu"
SOON = 20.0


@pytest.fixture
def half(device_plugins: pathlib.Path) -> Iterator[Callable[[], KubeletHalf]]:
    made: list[KubeletHalf] = []

    def make() -> KubeletHalf:
        config = Config({GPU: GPU}, Directories.below(device_plugins.parent), "x/")
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
        wait_until(lambda: ours.registered == {GPU: True}, SOON, "what Register answered, to be noted")


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


def test_a_busy_kubelet_is_asked_until_it_says_that_another_plugin_has_the_resource(
    half: Callable[[], KubeletHalf], pod_resources: PodResources, device_plugins: pathlib.Path, log: Log
) -> None:
    pod_resources.devices, pod_resources.refusals = {GPU: ["GPU-1"]}, 3
    with FakeKubelet(device_plugins) as kubelet:
        half()
        log.wait_for("already through another device plugin (devices GPU-1)")
        assert pod_resources.refusals == 0
        assert kubelet.registrations == ()


def test_of_two_instances_on_a_fresh_node_the_newer_knows_the_devices_of_the_older(
    half: Callable[[], KubeletHalf], pod_resources: PodResources, device_plugins: pathlib.Path, log: Log
) -> None:
    with FakeKubelet(device_plugins) as kubelet:
        pod_resources.kubelet = kubelet
        older = half()
        kubelet.wait_for(lambda: kubelet.allocatable(GPU) == 2, SOON)
        memory = device_plugins / "nri-cdi_device.example.com_gpu.json"
        wait_until(memory.exists, SOON, "what the older one remembers")
        remembered = memory.read_text()
        memory.unlink()
        newer = half()
        memory.write_text(remembered)
        log.wait_for("another instance serves this resource now")
        kubelet.wait_for(lambda: kubelet.streams(GPU) == 2, SOON)
        both = ({GPU: True}, {GPU: True})
        wait_until(lambda: (older.registered, newer.registered) == both, SOON, "what Register answered, to be noted")
        assert log.count("another device plugin") == 0


def test_an_instance_of_which_the_next_one_does_not_know_keeps_its_socket_and_the_next_kubelet(
    half: Callable[[], KubeletHalf],
    pod_resources: PodResources,
    device_plugins: pathlib.Path,
    log: Log,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Memory, "keep", lambda _memory, _devices: None)
    monkeypatch.setattr(elsewheres, "PAUSE", 0.01)  # it looks more often than the older one
    with FakeKubelet(device_plugins) as kubelet:
        pod_resources.kubelet = kubelet
        older = half()
        kubelet.wait_for(lambda: kubelet.allocatable(GPU) == 2, SOON)
        half()
        log.wait_for("not registered: this node offers")
        wait_until(lambda: older.registered == {GPU: True}, SOON, "what Register answered, to be noted")
        assert log.count("another instance serves this resource now") == 0
        for stops in range(3):
            kubelet.stop()
            log.wait_for("nobody serves there", stops + 1)
            pod_resources.restart()  # of the same kubelet, and so as new as it
            kubelet.restart()
            kubelet.wait_for(lambda: kubelet.allocatable(GPU) == 2, SOON)


def test_what_an_instance_of_ours_offers_is_ours(
    half: Callable[[], KubeletHalf], pod_resources: PodResources, device_plugins: pathlib.Path
) -> None:
    older = Memory(device_plugins / "nri-cdi_device.example.com_gpu.json", GPU, boot_id())
    older.keep([Recalled(Candidate(f"{GPU}=d0", GPU, "d0", "f"), healthy=True)])
    pod_resources.devices = {GPU: ["d0"]}
    with FakeKubelet(device_plugins) as kubelet:
        half()
        kubelet.wait_for(lambda: kubelet.allocatable(GPU) == 2, SOON)
