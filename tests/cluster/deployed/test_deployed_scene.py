"""What a user sees: the chart installed, pods with devices, and what becomes of them when the agent or containerd restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from deployed.load import Load
from deployed.sight import look, right
from lab import mock
from lab.kube_pods import asking, container, pod
from lab.trouble import wait_until

if TYPE_CHECKING:
    from deployed.reached import Reached
    from deployed.release import Release

pytestmark = pytest.mark.timeout(400)


def test_the_agent_is_ready_with_its_three_containers_and_none_has_restarted(release: Release) -> None:
    (agent,) = release.pods()
    statuses = agent["status"]["containerStatuses"]
    assert sorted(one["name"] for one in statuses) == ["device-plugin", "nri-a", "nri-b"]
    assert all(one["ready"] and one["restartCount"] == 0 for one in statuses)


def test_pods_of_4_and_3_have_their_devices_and_the_third_waits_for_the_second(
    cluster: Reached, release: Release
) -> None:
    assert release.pods()
    cluster.apply(asking("p1", mock.KIND, 4), asking("p3", mock.KIND, 3))
    cluster.wait_running("p1")
    cluster.wait_running("p3")
    cluster.apply(asking("p2", mock.KIND, 2))
    wait_until(lambda: cluster.events("p2"), 30, "an event of p2", 0.2)
    assert f"Insufficient {mock.KIND}" in cluster.events("p2")[-1].message
    first = {"p1": look(cluster, "p1"), "p3": look(cluster, "p3")}
    assert right(first["p1"], 4), first
    assert right(first["p3"], 3), first
    cluster.delete("p3")
    cluster.wait_running("p2")
    second = look(cluster, "p2")
    assert right(second, 2), second
    assert not set(first["p1"].dev) & set(second.dev)


def test_a_pod_that_asks_for_nothing_sees_nothing(cluster: Reached, release: Release) -> None:
    assert release.pods()
    cluster.apply(pod("plain", container()))
    cluster.wait_running("plain")
    assert right(look(cluster, "plain"), 0)


def test_no_pod_runs_without_its_device_while_the_daemonset_is_rolled(cluster: Reached, release: Release) -> None:
    with Load(cluster, "roll") as load:
        release.kubectl("rollout", "restart", "daemonset/nri-cdi")
        release.kubectl("rollout", "status", "daemonset/nri-cdi", "--timeout=120s")
        load.wait_more("the roll", "had")
    assert load.outcome["without"] == 0, load.outcome
    print(load.outcome)  # noqa: T201  # how many were kept from running says how the roll feels


def test_no_pod_runs_without_its_device_while_agent_pods_are_killed(cluster: Reached, release: Release) -> None:
    with Load(cluster, "kill") as load:
        for _ in range(3):
            release.kubectl("delete", "pods", "--all", "--force", "--grace-period=0")
            load.wait_more("the kill")
        release.kubectl("rollout", "status", "daemonset/nri-cdi", "--timeout=120s")
        load.wait_more("the kills", "had")
    assert load.outcome["without"] == 0, load.outcome
    print(load.outcome)  # noqa: T201  # as above


def test_no_pod_runs_without_its_device_while_containerd_restarts_and_running_ones_live_on(
    cluster: Reached, release: Release
) -> None:
    cluster.apply(asking("stays", mock.KIND, 2))
    before = cluster.wait_running("stays").containers["c"].id
    with Load(cluster, "restart") as load:
        for _ in range(2):
            cluster.restart_runtime()
            load.wait_more("the restart", "had")
    assert load.outcome["without"] == 0, load.outcome
    assert cluster.pod("stays").containers["c"].id == before
    assert right(look(cluster, "stays"), 2)
    (agent,) = release.pods()
    assert [one["restartCount"] for one in agent["status"]["containerStatuses"]] == [0, 0, 0]
    print(load.outcome)  # noqa: T201  # as above
