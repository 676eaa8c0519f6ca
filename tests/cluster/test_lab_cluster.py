"""The lab's cluster itself: what it promises to the other tests, and that nothing of it is left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lab import kubernetes
from lab.kube_pods import asking, container, pod
from lab.trouble import LabError, wait_until

if TYPE_CHECKING:
    from lab.cluster import Cluster

pytestmark = pytest.mark.one_series("the lab itself")

HACK = Path(__file__).resolve().parents[2] / "hack"

HOLDER = textwrap.dedent(
    """
    import sys, time
    from lab.cluster import Cluster
    from lab.kube_pods import asking
    cluster = Cluster(sys.argv[1]).start()
    cluster.create(asking("one", "example.com/none", 0))
    cluster.wait_running("one")
    print(cluster.sandbox.name, flush=True)
    time.sleep(600)
    """
)


def traces(name: str) -> list[str]:
    """What there is of a sandbox on the machine: processes, mounts, cgroups, directories."""
    processes = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if name in (process / "cgroup").read_text() or name.encode() in (process / "cmdline").read_bytes():
                processes.append(str(process))
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if name in line]
    cgroups = [str(path) for pattern in (name, f"*/{name}") for path in Path("/sys/fs/cgroup").glob(pattern)]
    directories = [str(path) for place in ("/tmp", "/run", "/var/lib") for path in Path(place).glob(f"*{name}*")]
    return [*processes, *mounts, *cgroups, *directories]


def machine() -> dict[str, object]:
    """What a kubelet and CNI plugins would change on the machine itself."""
    places = ("/var/lib/kubelet", "/var/lib/cni", "/etc/cni", "/opt/cni", "/run/nri", "/etc/cdi", "/var/log/pods")
    sysctls = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward")
    return {
        "places": {place: Path(place).exists() for place in places},
        "bridge": Path("/sys/class/net/lab0").exists(),
        "sysctls": {name: Path("/proc/sys", name).read_text() for name in sysctls},
    }


def test_pods_have_a_network_of_their_own_and_reach_the_api_server(cluster: Cluster) -> None:
    cluster.apply(asking("one", "example.com/none", 0))
    cluster.wait_running("one")
    cluster.exec("one", "nc", "-w", "2", "10.96.0.1", "443")
    assert "10.124.0." in cluster.exec("one", "ip", "addr")


def test_logs_events_and_describe_tell_of_a_pod(cluster: Cluster) -> None:
    cluster.apply(pod("one", container(command=["sh", "-c", "echo said; sleep 1000000"])))
    cluster.wait_running("one")
    assert cluster.logs("one") == "said\n"
    assert cluster.wait_event("one", "Started").type == "Normal"
    assert "Started container c" in cluster.describe("one").replace("container: c", "container c")
    assert cluster.shown("one") == ("1/1", "Running")


def test_a_wait_in_vain_says_where_the_pod_stands(cluster: Cluster) -> None:
    cluster.create(asking("one", "example.com/none", 1))
    with pytest.raises(LabError, match=r"in vain for pod one to run; .*Pending(.|\n)*Insufficient example.com/none"):
        cluster.wait_running("one", timeout=3)


@pytest.mark.timeout(180)
def test_nothing_is_left_behind_when_the_holder_is_killed(series: str) -> None:
    before = machine()
    with subprocess.Popen(  # noqa: S603 - our own words
        [sys.executable, "-c", HOLDER, series],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{HACK}:{HACK.parent}"},
        start_new_session=True,
    ) as holder:
        assert holder.stdout is not None
        name = holder.stdout.readline().strip()
        assert traces(name)
        os.killpg(holder.pid, signal.SIGKILL)
    wait_until(lambda: not traces(name), 10, f"the end of {traces(name)}")
    assert machine() == before


def test_a_missing_part_is_named_with_the_command_that_gets_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NRI_CDI_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match=r"kubelet, .*the CNI plugins .*run `hack/get-kubernetes`"):
        kubernetes.parts()
