"""nri-cdi and the kubelet come and go: registration again in time, rolling update, uninstall."""

from __future__ import annotations

import calendar
import re
import threading
import time
from typing import TYPE_CHECKING, Self

import pytest
from lab import mock
from lab.equipped import HALVES, REGISTERED
from lab.kube_pods import asking
from lab.kubelet import SOCKET
from lab.podresources import healthy_devices
from lab.trouble import wait_until

from nri_cdi.allocation import GUARD_SENTENCE

if TYPE_CHECKING:
    from types import TracebackType

    from lab.agent import Agent
    from lab.cluster import Cluster
    from lab.equipped import Equipped

TOO_LATE = 0.8
"""Seconds from the kubelet's socket until it synchronises its first pods, as a rule and not as a promise: without the plugin it fails those with devices for
good."""


def moments(agent: Agent, text: str) -> list[float]:
    """When the agent logged lines with this text (seconds since the epoch)."""
    pattern = rf"^(\S+)\.(\d{{3}})Z .*{re.escape(text)}"
    found = re.findall(pattern, agent.log(), re.MULTILINE)
    return [calendar.timegm(time.strptime(at, "%Y-%m-%dT%H:%M:%S")) + int(ms) / 1000 for at, ms in found]


@pytest.mark.one_series("the kubelet's socket and our watch of it")
def test_after_a_restart_of_the_kubelet_the_plugin_is_registered_again_within_300_ms(
    equipped: Equipped, cluster: Cluster
) -> None:
    agent = equipped.agents["device-plugin"]
    delays = []
    for _ in range(3):
        before = len(moments(agent, REGISTERED))
        cluster.kubelet.restart()
        wait_until(lambda before=before: len(moments(agent, REGISTERED)) > before, 10, "the registration")  # type: ignore[misc]  # mypy has no type for a bound default
        made = cluster.path(SOCKET).stat().st_ctime
        delays.append(moments(agent, REGISTERED)[-1] - made)
    assert sorted(delays)[1] < 0.3, delays
    assert max(delays) < TOO_LATE, delays


def test_a_pod_that_waits_while_the_kubelet_restarts_is_not_lost(equipped: Equipped, cluster: Cluster) -> None:
    equipped.kill("nri")
    cluster.create(asking("one", mock.KIND, 2))
    cluster.wait_reason("one", "CreateContainerConfigError")
    devices = cluster.devices("one")
    cluster.kubelet.stop()
    # before the new kubelet tries: the next time is 10 to 15 s later
    equipped.start("nri")
    cluster.kubelet.start()
    cluster.kubelet.wait()
    cluster.wait_running("one", timeout=30)
    assert equipped.look("one").problems == []
    assert equipped.look("one").allocated == devices


class Watch:
    """Looks at the kubelet's own list of healthy devices all the time, and keeps how long all of them were missing."""

    def __init__(self, cluster: Cluster) -> None:
        self._root = cluster.path("/")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.gaps: list[float] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        lost: float | None = None
        # the kubelet answers no more than a hundred questions in a second
        while not self._ended.wait(0.02):
            there = bool(healthy_devices(self._root, mock.KIND))
            now = time.monotonic()
            if not there:
                lost = now if lost is None else lost
            elif lost is not None:
                self.gaps.append(now - lost)
                lost = None
        if lost is not None:
            self.gaps.append(time.monotonic() - lost)


def test_a_rolling_update_costs_no_container(equipped: Equipped, cluster: Cluster) -> None:
    """The new processes start before the old ones end. The gap is what the kubelet itself says, and the NRI half's log."""
    cluster.create(asking("old", mock.KIND, 2))
    cluster.wait_running("old")
    before = cluster.status("old").containers["c"].id, equipped.look("old")
    # containerd 2 synchronizes no plugin while it stops a container, and pods of the test before may be ending still
    wait_until(lambda: len(cluster.running()) == 1, 10, "the end of all other containers")
    with Watch(cluster) as watch:
        new = {half: equipped.launch(half) for half in HALVES}
        new["nri"].wait_log("is held by process")
        new["device-plugin"].wait_log(REGISTERED)
        equipped.agents["device-plugin"].wait_log("standing by")
        ended = time.time()
        equipped.stop(*HALVES)
        equipped.agents.update(new)
        equipped.start(*HALVES)
    assert moments(new["nri"], "synchronized")[0] - ended < 1
    assert sum(watch.gaps) < 0.5, watch.gaps

    cluster.create(asking("new", mock.KIND, 6))
    cluster.wait_running("new", timeout=30)
    assert equipped.look("new").problems == []
    assert (cluster.status("old").containers["c"].id, equipped.look("old")) == before
    cluster.end("old")
    cluster.wait("old", lambda status: status.containers["c"].restarts == 1 and status.running, "to be restarted")
    assert equipped.look("old") == before[1]


def test_after_an_uninstall_running_pods_run_on_and_none_starts_without_its_devices(
    equipped: Equipped, cluster: Cluster
) -> None:
    pods = {"runs": 2, "crashes-first": 1, "crashes-later": 2, "plain": 0}
    cluster.create(*(asking(name, mock.KIND, count) for name, count in pods.items()))
    cluster.wait_running(*pods)
    before = {name: equipped.look(name) for name in ("runs", "crashes-later")}
    equipped.stop()

    # the kubelet still knows the plugin: it refuses by itself
    cluster.end("crashes-first")
    assert "has been stopped" in cluster.wait_event("crashes-first", "Failed").message
    # then it has forgotten it. What does not run then is lost: that is the kubelet's own rule
    cluster.kubelet.restart()
    assert cluster.wait_phase("crashes-first", "Failed").reason == "UnexpectedAdmissionError"
    # what runs is left alone, and when it has to start again nobody is asked: the guard refuses
    cluster.end("crashes-later")
    event = cluster.wait_event("crashes-later", "Failed", GUARD_SENTENCE)
    assert event.message.startswith("Error: failed to create containerd task")
    assert cluster.status("crashes-later").containers["c"].state != "running"

    assert equipped.look("runs") == before["runs"]
    cluster.create(asking("plain-too", mock.KIND, 0), asking("wants", mock.KIND, 1))
    cluster.wait_running("plain", "plain-too")
    cluster.wait_event("wants", "FailedScheduling", f"Insufficient {mock.KIND}")
    cluster.end("plain")
    cluster.wait("plain", lambda status: status.containers["c"].restarts == 1 and status.running, "to be restarted")

    # and it can be installed again
    equipped.start(*HALVES)
    cluster.hurry("crashes-later", "wants")
    assert {name: equipped.look(name) for name in before} == before
    cluster.delete("runs", "crashes-first", "crashes-later", "wants")
    cluster.create(asking("all", mock.KIND, mock.COUNT))
    cluster.wait_running("all")
