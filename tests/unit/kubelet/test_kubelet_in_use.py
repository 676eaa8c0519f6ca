"""Under which names containers have devices, and that no other name gets such a device."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from nri_cdi.host.numa import Sysfs
from nri_cdi.host.root import HostRoot
from nri_cdi.kubelet import api, keeper
from nri_cdi.kubelet.directories import Directories
from nri_cdi.kubelet.in_use import LINGER, InUse, Used
from nri_cdi.kubelet.keeper import Node
from nri_cdi.kubelet.service import Config, KubeletHalf
from nri_cdi.testing.kubelet import FakeKubelet
from nri_cdi.testing.snapshots import node, snapshot, spec_file

if TYPE_CHECKING:
    import pathlib

    from nri_cdi.testing.log import Log
    from nri_cdi.testing.pod_resources import PodResources

GPU, RESOURCE = "device.example.com/gpu", "cluster.example.com/gpu"
SOON = 20.0


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def in_use(device_plugins: pathlib.Path, clock: Clock) -> InUse:
    socket = device_plugins.parent / "pod-resources" / "kubelet.sock"
    return InUse(socket, device_plugins / "kubelet_internal_checkpoint", {GPU: RESOURCE}, clock)


def write(directory: pathlib.Path, entries: Any) -> None:  # noqa: ANN401  # also what no checkpoint has
    (directory / "kubelet_internal_checkpoint").write_text(json.dumps({"Data": {"PodDeviceEntries": entries}}))


def entry(resource: str, *devices: str) -> dict[str, object]:
    return {"PodUID": "1", "ContainerName": "c", "ResourceName": resource, "DeviceIDs": {"-1": devices}}


def test_what_the_kubelet_lists_is_in_use_under_the_names_of_the_kind(
    in_use: InUse, pod_resources: PodResources, device_plugins: pathlib.Path
) -> None:
    pod_resources.in_use = {RESOURCE: ["d0", "d1"], "other.example.com/nic": ["d2"]}
    assert in_use().names == {f"{GPU}=d0", f"{GPU}=d1"}
    pod_resources.in_use = {RESOURCE: ["d1"]}
    write(device_plugins, [entry(RESOURCE, "ended")])
    assert in_use().names == {f"{GPU}=d1"}


def answered(resource: str, kind: str, *devices: str) -> dict[str, object]:
    """An entry with an answer of ours."""
    value = ",".join(f"{kind}={device}" for device in devices)
    answer = api.ContainerAllocateResponse(annotations={f"other.example.com/nri-cdi.v1_{'0' * 32}": value})
    return entry(resource, *devices) | {"AllocResp": base64.b64encode(answer.SerializeToString()).decode()}


def test_what_containers_have_of_an_earlier_resource_of_the_kind_is_in_use_with_its_name(
    in_use: InUse, pod_resources: PodResources, device_plugins: pathlib.Path
) -> None:
    before = "device.example.com/before"
    pod_resources.in_use = {before: ["d0"], "foreign.example.com/gpu": ["d9"], RESOURCE: ["d1"]}
    write(device_plugins, [answered(before, GPU, "d0"), answered("x/y", "other.com/kind", "d0")])
    names = frozenset((f"{GPU}=d0", f"{GPU}=d1"))
    assert in_use() == Used(names, elsewhere={f"{GPU}=d0": before})
    pod_resources.stop()
    assert in_use() == Used(names, elsewhere={f"{GPU}=d0": before})


def test_names_that_only_other_containers_have_than_before_are_said_once(
    in_use: InUse, pod_resources: PodResources, device_plugins: pathlib.Path, clock: Clock
) -> None:
    pod_resources.in_use = {RESOURCE: ["d0", "d1"]}
    clock.now = LINGER
    assert in_use() == Used(frozenset((f"{GPU}=d0", f"{GPU}=d1")))
    clock.now = 3 * LINGER
    pod_resources.pod, pod_resources.in_use = "another", {RESOURCE: ["d1", "d2"]}
    after = frozenset((f"{GPU}=d1", f"{GPU}=d2"))
    assert in_use() == Used(after, frozenset((f"{GPU}=d1",)))
    assert in_use() == Used(after)
    write(device_plugins, [entry(RESOURCE, "d1")])
    pod_resources.stop()
    assert in_use() == Used(after), (
        "the checkpoint calls a container otherwise, and a kubelet that is away is new when it is back"
    )
    clock.now = 4 * LINGER
    assert in_use() == Used(frozenset((f"{GPU}=d1",)))
    write(device_plugins, [entry(RESOURCE, "d1") | {"PodUID": "2"}])
    assert in_use() == Used(frozenset((f"{GPU}=d1",)), frozenset((f"{GPU}=d1",)))


def test_a_kubelet_that_is_new_may_not_know_all_its_pods_yet(
    in_use: InUse, pod_resources: PodResources, device_plugins: pathlib.Path, clock: Clock
) -> None:
    write(device_plugins, [entry(RESOURCE, "before-us")])
    pod_resources.in_use = {RESOURCE: ["d0"]}
    assert in_use().names == {f"{GPU}=d0", f"{GPU}=before-us"}
    clock.now = LINGER
    assert in_use().names == {f"{GPU}=d0"}
    pod_resources.restart()
    pod_resources.in_use = {}
    assert in_use().names == {f"{GPU}=d0"}
    clock.now = 2 * LINGER - 1
    assert in_use().names == {f"{GPU}=d0"}
    clock.now = 2 * LINGER
    assert in_use().names == frozenset()


def test_where_the_kubelet_cannot_be_asked_its_checkpoint_says_it(in_use: InUse, device_plugins: pathlib.Path) -> None:
    write(device_plugins, [entry(RESOURCE, "d0"), entry("other.example.com/nic", "d1"), entry(RESOURCE, "d2", "d3")])
    assert in_use().names == {f"{GPU}=d0", f"{GPU}=d2", f"{GPU}=d3"}


@pytest.mark.parametrize("entries", [[{}], [{"ResourceName": RESOURCE, "DeviceIDs": []}], 5, ["x"]])
def test_where_nothing_can_be_had_it_is_as_it_was(in_use: InUse, device_plugins: pathlib.Path, entries: object) -> None:
    assert in_use().names == frozenset()
    write(device_plugins, None)
    assert in_use().names == frozenset()
    write(device_plugins, [entry(RESOURCE, "d0")])
    assert in_use().names == {f"{GPU}=d0"}
    write(device_plugins, entries)
    assert in_use().names == {f"{GPU}=d0"}


def test_a_kubelet_whose_socket_nobody_can_connect_to_is_one_that_cannot_be_asked(
    device_plugins: pathlib.Path,
) -> None:
    write(device_plugins, [entry(RESOURCE, "d0")])
    socket = device_plugins / ("x" * 120) / "kubelet.sock"
    assert InUse(socket, device_plugins / "kubelet_internal_checkpoint", {GPU: RESOURCE})().names == {f"{GPU}=d0"}


def test_a_renamed_device_is_advertised_when_no_container_has_it_any_more(
    device_plugins: pathlib.Path, pod_resources: PodResources, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "RESCAN", 0.2)
    old = spec_file(GPU, {"old0": ["/dev/null0"], "old1": ["/dev/null1"]})
    new = spec_file(GPU, {"new0": ["/dev/null0"], "new1": ["/dev/null1"]})
    assert node("/dev/null0").type, "there is no such node: what a spec says of it is all that is known"
    failed: list[str] = []
    half = KubeletHalf(
        Config({GPU: GPU}, Directories.below(device_plugins.parent), "cdi.k8s.io/"),
        Node(HostRoot(), Sysfs()),
        ready=lambda _: None,
        fatal=failed.append,
    )
    with FakeKubelet(device_plugins) as kubelet:
        half.start()
        try:
            half.update(snapshot(old))
            kubelet.wait_for(lambda: kubelet.devices(GPU).keys() == {"old0", "old1"}, SOON)
            pod_resources.in_use = {GPU: ["old0"]}
            half.update(snapshot(new))
            kubelet.wait_for(lambda: "new1" in kubelet.devices(GPU), SOON)
            assert "new0" not in kubelet.devices(GPU)
            log.wait_for(f"not advertised: {GPU}=new0: a container has a host device of it as {GPU}=old0")
            pod_resources.in_use = {}
            kubelet.wait_for(lambda: "new0" in kubelet.devices(GPU), SOON)
        finally:
            half.stop()
    assert failed == []
