"""nri-cdi without a pod of its own: as systemd units, and as a plugin that containerd starts itself. In the kind node, which has systemd."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from deployed.command import CHECKOUT, run
from deployed.release import IMAGE, Release
from deployed.sight import look, right
from lab import mock
from lab.kube_pods import asking
from lab.trouble import LabError, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployed.kind import KindCluster

pytestmark = pytest.mark.timeout(300)

SOURCES = "/opt/nri-cdi-checkout"
STATE = "echo; systemctl show -p ActiveState -p SubState -p Result -p NRestarts nri-cdi-nri@10"
PLUGIN_SOCKET = f"/var/lib/kubelet/plugins_registry/nri-cdi_{mock.KIND.replace('/', '_')}.sock"
UNITS = ("nri-cdi-nri@10", "nri-cdi-nri@11", "nri-cdi-device-plugin")


@pytest.fixture(scope="module")
def node(cluster: KindCluster) -> Iterator[KindCluster]:
    """The node without the chart's agent, with the program and the checkout's deploy/ on it."""
    Release(cluster).helm("uninstall", "nri-cdi", "--ignore-not-found", "--wait")
    # or a pod would be placed by what the node's status still has, and refused by the kubelet for good
    cluster.wait_allocatable(mock.KIND, 0)
    identity = run("docker", "create", IMAGE).strip()
    # the image's files beside the node's own: the same distribution
    copy = f"tar -x -C / --skip-old-files --exclude=etc --exclude=dev --exclude=proc --exclude=sys && mkdir -p {SOURCES} && ldconfig"
    with subprocess.Popen(["docker", "export", identity], stdout=subprocess.PIPE) as export:  # noqa: S603, S607  # docker
        command = ["docker", "exec", "-i", cluster.node, "bash", "-euc", copy]
        subprocess.run(command, stdin=export.stdout, check=True, timeout=120)  # noqa: S603  # docker
    run("docker", "rm", identity)
    run("docker", "cp", str(CHECKOUT / "deploy"), f"{cluster.node}:{SOURCES}/deploy")
    yield cluster
    cluster.kubectl("delete", "pods", "--all", "--force", "--grace-period=0", "--namespace", "default")


@pytest.fixture(scope="module")
def units(node: KindCluster) -> Iterator[KindCluster]:
    """The units, installed and started as the documentation says."""
    node.in_node(f"PROGRAM=/usr/local/bin/nri-cdi {SOURCES}/deploy/systemd/install")
    node.in_node(f"systemctl enable --now {' '.join(UNITS)}")
    node.wait_allocatable(mock.KIND, mock.COUNT)
    yield node
    node.in_node(f"{SOURCES}/deploy/systemd/install --remove")


def journal(node: KindCluster, what: str) -> str:
    return node.in_node(f"journalctl --no-pager -o cat {what}")


def test_the_units_serve_pods(units: KindCluster) -> None:
    assert units.in_node(f"systemctl is-active {' '.join(UNITS)}").split() == ["active"] * 3
    units.apply(asking("by-units", mock.KIND, 4))
    units.wait_running("by-units")
    assert right(look(units, "by-units"), 4)
    assert "synchronized with containerd" in journal(units, "-u nri-cdi-nri@10")
    units.delete("by-units")


def test_a_unit_that_is_killed_comes_back_and_the_other_stands_in(units: KindCluster) -> None:
    units.in_node("systemctl kill -s KILL nri-cdi-nri@10")
    units.apply(asking("stood-in", mock.KIND, 1))
    units.wait_running("stood-in")
    assert right(look(units, "stood-in"), 1)

    def is_back() -> bool:
        state = units.in_node(STATE)
        return "\nActiveState=active\n" in state and "NRestarts=0" not in state

    try:
        wait_until(is_back, 20, "its return", 0.2)
    except LabError as error:
        raise LabError(f"{error}\n{units.in_node(STATE)}\n{journal(units, '-u nri-cdi-nri@10')}") from error
    units.delete("stood-in")


def test_the_units_start_behind_containerd_and_before_the_kubelet(units: KindCluster) -> None:
    for unit in UNITS:
        shown = units.in_node(f"systemctl show -p After -p Before {unit}")
        assert re.search(r"^After=.*\bcontainerd\.service\b", shown, re.MULTILINE), shown
        assert re.search(r"^Before=.*\bkubelet\.service\b", shown, re.MULTILINE), shown


def test_the_start_of_a_unit_ends_when_it_is_ready(units: KindCluster) -> None:
    units.in_node(f"systemctl restart nri-cdi-device-plugin && test -S {PLUGIN_SOCKET}")
    this_start = "_SYSTEMD_INVOCATION_ID=$(systemctl show -p InvocationID --value nri-cdi-nri@10)"
    said = units.in_node(f"systemctl restart nri-cdi-nri@10 && journalctl --sync && journalctl -o cat {this_start}")
    assert "synchronized with containerd" in said
    units.wait_allocatable(mock.KIND, mock.COUNT)


def test_the_units_are_as_confined_as_the_documentation_says(units: KindCluster) -> None:
    documented = re.findall(r"`systemd-analyze security`[^.]*?\b(\d\.\d)\b", (CHECKOUT / "docs/install.md").read_text())
    assert documented
    for unit in UNITS:
        said = units.in_node(f"systemd-analyze security --no-pager {unit}.service", ok=False)
        found = re.search(r"exposure level for .*: (\d+\.\d)", said)
        assert found, said
        assert float(found[1]) <= float(documented[0]), said


def test_a_plugin_that_containerd_starts_itself_serves_pods_and_comes_back_with_containerd(units: KindCluster) -> None:
    node = units
    if node.runtime().startswith("1."):
        said = node.in_node(f"{SOURCES}/deploy/pre-installed/install", ok=False)
        assert "takes 2.1 or newer: use the units" in said
        return
    node.in_node("systemctl disable --now nri-cdi-nri@10 nri-cdi-nri@11")
    node.in_node(f"{SOURCES}/deploy/pre-installed/install && systemctl restart containerd")
    try:
        for name in ("pre-installed", "again"):
            node.wait_allocatable(mock.KIND, mock.COUNT)
            node.apply(asking(name, mock.KIND, 2))
            node.wait_running(name)
            assert right(look(node, name), 2)
            node.delete(name)
            node.in_node("systemctl restart containerd")
        said = journal(node, "-t nri-cdi")
        assert "as 10-nri-cdi" in said
        assert "the runtime that started us is gone" in said
        assert len(node.in_node("pgrep -f 'nri-cdi nri'").split()) == 1
    finally:
        node.in_node(f"{SOURCES}/deploy/pre-installed/install --remove && systemctl restart containerd", ok=False)
    assert "nri-cdi" not in node.in_node("ls /opt/nri/plugins")
