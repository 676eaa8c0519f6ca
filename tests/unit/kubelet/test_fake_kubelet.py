"""The fake kubelet does what a kubelet of Kubernetes 1.34 was seen to do; these tests say what that is."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nri_cdi.kubelet import api
from nri_cdi.kubelet.names import resource_name_problem
from nri_cdi.kubelet.plugin import Answers, DevicePlugin
from nri_cdi.kubelet.told import Device, Resource
from nri_cdi.testing.kubelet import FakeKubelet, Insufficient, PreStartError, UnexpectedAdmissionError, is_extended
from nri_cdi.testing.plugin_client import address

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

    from nri_cdi.kubelet.plugin import Ready

GPU = "device.example.com/gpu"
SOON = 10.0


def resource(count: int, *unhealthy: int, kind: str = GPU) -> Resource:
    return Resource(
        kind, kind, tuple(Device(f"d{i}", f"{kind}=d{i}", healthy=i not in unhealthy) for i in range(count))
    )


def serve(directory: pathlib.Path, devices: Resource, ready: Ready = lambda _: None) -> DevicePlugin:
    plugin = DevicePlugin(devices, directory, Answers("cdi.k8s.io/", guard=True, ready=ready), lambda: None)
    plugin.bind()
    return plugin


def register(directory: pathlib.Path, endpoint: str, name: str = GPU, version: str = "v1beta1") -> str | None:
    """The text that Register is refused with, or None."""
    with grpc.insecure_channel(address(directory / "kubelet.sock")) as channel:
        call = channel.unary_unary(
            "/v1beta1.Registration/Register", api.RegisterRequest.SerializeToString, api.Empty.FromString
        )
        try:
            call(api.RegisterRequest(version=version, endpoint=endpoint, resource_name=name), timeout=SOON)
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"
    return None


@pytest.fixture
def kubelet(device_plugins: pathlib.Path) -> Iterator[FakeKubelet]:
    with FakeKubelet(device_plugins, dial_timeout=1.0) as kubelet:
        yield kubelet


@pytest.fixture
def plugin(device_plugins: pathlib.Path, kubelet: FakeKubelet) -> Iterator[DevicePlugin]:
    plugin = serve(device_plugins, resource(4))
    assert register(device_plugins, plugin.path.name) is None
    kubelet.wait_for(lambda: kubelet.allocatable(GPU) == 4, SOON)
    yield plugin
    plugin.close()


@pytest.mark.parametrize(
    ("endpoint", "name", "version", "text"),
    [
        (
            "x.sock",
            GPU,
            "v1alpha",
            'requested API version "v1alpha" is not supported by kubelet. Supported version is ["v1beta1"]',
        ),
        ("x.sock", "gpu", "v1beta1", 'the ResourceName "gpu" is invalid'),
        ("x.sock", "kubernetes.io/x", "v1beta1", 'the ResourceName "kubernetes.io/x" is invalid'),
        ("x.sock", "requests.example.com/x", "v1beta1", 'the ResourceName "requests.example.com/x" is invalid'),
        ("x.sock", GPU, "v1beta1", "failed to dial device plugin: context deadline exceeded"),
    ],
)
def test_register_refuses_in_the_kubelets_words(
    device_plugins: pathlib.Path, kubelet: FakeKubelet, endpoint: str, name: str, version: str, text: str
) -> None:
    assert register(device_plugins, endpoint, name, version) == f"UNKNOWN: {text}"
    assert kubelet.registrations[0].refusal == text
    assert kubelet.resources == ()


@given(st.text() | st.from_regex(r"[a-zA-Z0-9._-]{1,6}/[a-zA-Z0-9._-]{1,6}", fullmatch=True))
def test_the_fake_and_the_configuration_agree_on_which_resource_names_kubernetes_takes(name: str) -> None:
    assert is_extended(name) == (resource_name_problem(name) is None)


def test_allocate_asks_for_the_preference_and_keeps_count_of_what_is_in_use(
    kubelet: FakeKubelet,
    plugin: DevicePlugin,  # noqa: ARG001  # it serves
) -> None:
    first, response = kubelet.allocate(GPU, 2)
    assert first == ("d0", "d1")
    assert list(response.annotations.values()) == [f"{GPU}=d0,{GPU}=d1"]
    assert kubelet.allocate(GPU, 1).ids == ("d2",)
    assert (kubelet.capacity(GPU), kubelet.allocatable(GPU)) == (4, 4)
    kubelet.free(GPU, first)
    assert kubelet.in_use(GPU) == {"d2"}
    assert kubelet.allocate(GPU, 3).ids == ("d0", "d1", "d3")


def test_a_pod_that_asks_for_more_than_is_free_stays_pending_with_the_schedulers_words(
    kubelet: FakeKubelet,
    plugin: DevicePlugin,  # noqa: ARG001  # it serves
) -> None:
    kubelet.allocate(GPU, 3)
    with pytest.raises(Insufficient, match=rf"^0/1 nodes are available: 1 Insufficient {GPU}\.$"):
        kubelet.allocate(GPU, 2)
    with pytest.raises(Insufficient):
        kubelet.allocate("other.com/x", 1)


def test_an_unhealthy_device_counts_for_capacity_only(kubelet: FakeKubelet, plugin: DevicePlugin) -> None:
    plugin.update(resource(4, 1))
    kubelet.wait_for(lambda: kubelet.allocatable(GPU) == 3, SOON)
    assert kubelet.capacity(GPU) == 4
    assert kubelet.allocate(GPU, 3).ids == ("d0", "d2", "d3")


def test_a_plugin_that_dies_leaves_its_capacity_and_nothing_to_allocate(
    kubelet: FakeKubelet, plugin: DevicePlugin
) -> None:
    plugin.close()
    kubelet.wait_for(lambda: kubelet.allocatable(GPU) == 0, SOON)
    assert kubelet.capacity(GPU) == 4
    with pytest.raises(PreStartError, match="has been stopped"):
        kubelet.prestart(GPU, ["d0"])


def test_a_second_registration_while_connected_opens_a_second_stream_and_keeps_the_first(
    device_plugins: pathlib.Path, kubelet: FakeKubelet, plugin: DevicePlugin
) -> None:
    assert register(device_plugins, plugin.path.name) is None
    kubelet.wait_for(lambda: kubelet.streams(GPU) == 2, SOON)
    assert kubelet.allocatable(GPU) == 4


def test_when_the_older_of_two_plugins_of_a_resource_ends_the_newer_ones_connection_is_closed(
    device_plugins: pathlib.Path, kubelet: FakeKubelet, plugin: DevicePlugin
) -> None:
    newer = serve(device_plugins, resource(2, kind="device.example.com/newer"))
    assert register(device_plugins, newer.path.name) is None
    kubelet.wait_for(lambda: kubelet.capacity(GPU) == 2, SOON)
    plugin.close()
    kubelet.wait_for(lambda: kubelet.streams(GPU) == 0, SOON)
    assert (kubelet.capacity(GPU), kubelet.allocatable(GPU)) == (2, 0)
    newer.close()


def test_after_a_registration_that_could_not_be_dialled_the_death_of_the_plugin_goes_unnoticed(
    device_plugins: pathlib.Path, kubelet: FakeKubelet, plugin: DevicePlugin
) -> None:
    assert register(device_plugins, "nosuch.sock") == "UNKNOWN: failed to dial device plugin: context deadline exceeded"
    assert kubelet.allocatable(GPU) == 4
    plugin.close()
    kubelet.wait_for(lambda: kubelet.streams(GPU) == 0, SOON)
    assert kubelet.allocatable(GPU) == 4
    with pytest.raises(UnexpectedAdmissionError, match=r"^Allocate failed due to .*, which is unexpected$"):
        kubelet.allocate(GPU, 1)
    assert kubelet.in_use(GPU) == frozenset()


def test_a_kubelet_that_stops_ends_the_streams_and_leaves_the_sockets(
    device_plugins: pathlib.Path, kubelet: FakeKubelet, plugin: DevicePlugin
) -> None:
    kubelet.stop()
    assert {path.name for path in device_plugins.iterdir()} == {"kubelet.sock", plugin.path.name}
    assert kubelet.streams(GPU) == 0


def test_a_kubelet_that_starts_deletes_all_sockets_keeps_other_files_and_knows_no_plugin(
    device_plugins: pathlib.Path,
    kubelet: FakeKubelet,
    plugin: DevicePlugin,  # noqa: ARG001  # it serves
) -> None:
    (device_plugins / "kubelet_internal_checkpoint").write_text("{}")
    ids = kubelet.allocate(GPU, 1).ids
    before = (device_plugins / "kubelet.sock").lstat()
    kubelet.restart()
    after = (device_plugins / "kubelet.sock").lstat()
    assert {path.name for path in device_plugins.iterdir()} == {"kubelet.sock", "kubelet_internal_checkpoint"}
    assert stat.S_ISSOCK(after.st_mode)
    assert (before.st_ino, before.st_ctime_ns) != (after.st_ino, after.st_ctime_ns)
    assert (kubelet.capacity(GPU), kubelet.allocatable(GPU)) == (0, 0)
    assert kubelet.in_use(GPU) == set(ids)
    kubelet.prestart(GPU, ids)  # not called before the plugin has registered again: the container just starts


def test_a_refused_start_carries_the_plugins_sentence_in_the_kubelets_frame(
    device_plugins: pathlib.Path, kubelet: FakeKubelet
) -> None:
    plugin = serve(device_plugins, resource(1), ready=lambda names: f"no CDI device {names[0]}")
    assert register(device_plugins, plugin.path.name) is None
    kubelet.wait_for(lambda: kubelet.allocatable(GPU) == 1, SOON)
    with pytest.raises(PreStartError) as refused:
        kubelet.prestart(GPU, kubelet.allocate(GPU, 1).ids)
    assert str(refused.value) == (
        "device plugin PreStartContainer rpc failed with err: rpc error: code = FailedPrecondition "
        f"desc = no CDI device {GPU}=d0"
    )
    plugin.close()


def test_waiting_for_what_does_not_come_is_a_timeout_that_says_how_things_stand(kubelet: FakeKubelet) -> None:
    with pytest.raises(TimeoutError, match="no resources"):
        kubelet.wait_for(lambda: kubelet.allocatable(GPU) == 1, 0.01)
