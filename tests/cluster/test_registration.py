"""How the kubelet knows nri-cdi: by plugins_registry, with its devices' topology and preferences, and beside another plugin."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lab import mock, other_plugin
from lab.equipped import HALVES, REGISTERED, SPEC
from lab.kube_pods import asking
from lab.podresources import healthy_devices, numa_nodes
from lab.trouble import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.cluster import Cluster
    from lab.equipped import Equipped
    from lab.sandbox import Program

pytestmark = pytest.mark.one_series("the kubelet and its plugins among themselves")

MEMORY = "/var/lib/kubelet/device-plugins/nri-cdi_device.example.com_gpu.json"
FOUND = "registered with the kubelet (it found our socket)"
OTHERS = ["other-1", "other-2"]


def use(equipped: Equipped, *flags: str) -> None:
    """Run the kubelet half with these flags instead."""
    equipped.stop("device-plugin")
    equipped.agents["device-plugin"] = equipped.launch("device-plugin", *flags)
    equipped.start(*HALVES)


@pytest.fixture
def registry(equipped: Equipped) -> Iterator[None]:
    """The kubelet half is registered by its socket in plugins_registry."""
    use(equipped, "--registration", "plugins-registry")
    yield
    equipped.stop("device-plugin")


@pytest.mark.usefixtures("registry")
def test_by_plugins_registry_a_new_kubelet_finds_the_plugin_before_the_pods_that_wait(
    equipped: Equipped, cluster: Cluster
) -> None:
    cluster.create(asking("runs", mock.KIND, 2), asking("waits", mock.KIND, 3))
    cluster.wait_running("runs", "waits")
    devices = cluster.devices("waits")
    agent = equipped.agents["device-plugin"]
    sockets = list(cluster.path("/var/lib/kubelet/plugins_registry").glob("*.sock"))
    assert len(sockets) == 1
    assert not list(cluster.path("/var/lib/kubelet/device-plugins").glob("nri-cdi*.sock"))

    equipped.kill("nri")
    cluster.end("waits")
    cluster.wait_reason("waits", "CreateContainerConfigError")
    before = agent.log().count(FOUND)
    cluster.kubelet.stop()
    # before the new kubelet tries: the next time is 10 to 15 s later
    equipped.start("nri")
    cluster.kubelet.start()
    wait_until(lambda: len(healthy_devices(cluster.path("/"), mock.KIND)) == mock.COUNT, 10, "the registration")
    assert agent.log().count(FOUND) == before + 1
    cluster.wait_running("waits", timeout=30)
    assert equipped.look("waits").problems == []
    assert equipped.look("waits").allocated == devices
    assert cluster.status("runs").containers["c"].restarts == 0


@pytest.fixture
def two_numa_nodes(equipped: Equipped) -> Iterator[None]:
    """The kubelet half sees a sysfs that has devices with even numbers on NUMA node 0 and the others on node 1."""
    root = equipped.cluster.path("/numa")
    mock.create(root, mock.COUNT)
    for number in range(mock.COUNT):
        device = root / f"sys/dev/char/{mock.MAJOR}:{number}"
        device.mkdir(parents=True, exist_ok=True)
        (device / "numa_node").write_text(f"{number % 2}\n")
    use(equipped, "--host-root", "/numa")
    yield
    equipped.stop("device-plugin")


@pytest.mark.usefixtures("two_numa_nodes")
def test_the_kubelet_knows_each_devices_numa_node_and_gives_a_container_devices_of_one(
    equipped: Equipped, cluster: Cluster
) -> None:
    told = numa_nodes(cluster.path("/"), mock.KIND)
    assert told == {f"device_{number}": [number % 2] for number in range(mock.COUNT)}
    nodes: dict[str, set[int]] = {}
    for name, count in (("three", 3), ("one", 1), ("four", 4)):
        cluster.create(asking(name, mock.KIND, count))
        cluster.wait_running(name)
        seen = equipped.look(name)
        assert (seen.problems, len(seen.allocated)) == ([], count)
        nodes[name] = {node for device in seen.allocated for node in told[device]}
    assert len(nodes["three"]) == 1
    assert nodes["one"] == nodes["three"], "what is left of a node is used up first"
    assert nodes["four"] == {0, 1} - nodes["three"]


@pytest.fixture
def other(equipped: Equipped) -> Iterator[Program]:
    """Another plugin of the resource, which registered after ours."""
    log = "/var/log/other-plugin.log"
    program = equipped.cluster.sandbox.popen(
        [sys.executable, str(Path(other_plugin.__file__)), mock.KIND, *OTHERS], log, {"PYTHONUNBUFFERED": "1"}
    )
    path = equipped.cluster.path(log)
    wait_until(lambda: "registered" in path.read_text(), 20, "the other plugin")
    yield program
    program.kill()


def test_another_plugin_that_registers_later_is_said_and_let_be_and_followed_when_it_ends(
    equipped: Equipped, cluster: Cluster, other: Program
) -> None:
    agent = equipped.agents["device-plugin"]
    registered = agent.log().count(REGISTERED)
    agent.wait_log("another device plugin registered this resource after us", timeout=20)
    assert healthy_devices(cluster.path("/"), mock.KIND) == OTHERS
    assert agent.log().count(REGISTERED) == registered

    other.kill()
    agent.wait_log("registered with the kubelet (it counted none of our devices)", timeout=20)
    cluster.wait_allocatable(mock.KIND, mock.COUNT)
    assert agent.log().count(REGISTERED) == registered + 1
    cluster.create(asking("one", mock.KIND, 2))
    cluster.wait_running("one")
    assert equipped.look("one").problems == []


def test_a_device_that_is_renamed_while_a_container_has_it_is_given_to_nobody_else(
    equipped: Equipped, cluster: Cluster
) -> None:
    spec, memory = cluster.path(SPEC), cluster.path(MEMORY)
    cluster.create(asking("one", mock.KIND, 3))
    cluster.wait_running("one")
    nodes = set(equipped.look("one").nodes)
    try:
        spec.write_text(spec.read_text().replace("- name: device_", "- name: renamed_"))
        cluster.wait_allocatable(mock.KIND, 5)
        cluster.create(asking("rest", mock.KIND, 2))  # the scheduler takes the three from the five
        cluster.wait_running("rest")
        cluster.create(asking("too-many", mock.KIND, 1))
        cluster.wait_event("too-many", "FailedScheduling", f"Insufficient {mock.KIND}")
        assert len(equipped.look("rest").nodes) == 2
        assert not nodes & set(equipped.look("rest").nodes)
        cluster.delete("too-many")
        before = equipped.agents["device-plugin"]
        equipped.stop("device-plugin")
        equipped.begin("device-plugin")
        assert equipped.agents["device-plugin"] is not before
        cluster.wait_allocatable(mock.KIND, 5)
        cluster.create(asking("too-many", mock.KIND, 1))
        cluster.wait_event("too-many", "FailedScheduling", f"Insufficient {mock.KIND}")
        cluster.delete("one")
        cluster.create(asking("others", mock.KIND, 5))
        cluster.wait_running("too-many", "others")
        assert nodes <= {*equipped.look("too-many").nodes, *equipped.look("others").nodes}
    finally:
        equipped.stop("device-plugin")
        memory.unlink(missing_ok=True)  # else the old names would stay for an hour


def test_a_device_that_gets_other_nodes_while_a_container_has_it_frees_none_for_others(
    equipped: Equipped, cluster: Cluster
) -> None:
    spec = cluster.path(SPEC)
    cluster.create(asking("one", mock.KIND, 1))
    cluster.wait_running("one")
    (node,) = equipped.look("one").nodes
    written = spec.read_text()
    for number in range(mock.COUNT):  # each name is now the next one's device
        written = written.replace(f"- name: device_{number}\n", f"- name: device_{(number + 1) % mock.COUNT}.\n")
    spec.write_text(written.replace(".\n", "\n"))
    cluster.wait_allocatable(mock.KIND, mock.COUNT - 1)
    cluster.create(asking("rest", mock.KIND, mock.COUNT - 2))
    cluster.wait_running("rest")
    assert len(equipped.look("rest").nodes) == mock.COUNT - 2
    assert node not in equipped.look("rest").nodes
    cluster.delete("one")
    cluster.wait_allocatable(mock.KIND, mock.COUNT)
    cluster.create(asking("others", mock.KIND, 2))
    cluster.wait_running("others")
    assert node in equipped.look("others").nodes
