"""Containers that carry no CDI key are never refused, changed or held up by us, whatever is broken."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from lab import cri_api as api
from lab.agent import Agent
from lab.node import Node
from lab.oci import comparable, differences
from lab.trouble import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.pods import Pod
    from lab.served import Served

REQUEST_TIMEOUT = 2.0
"""Seconds that the runtime waits for a plugin that does not answer, once, before it throws it out."""

ORDINARY = api.ContainerConfig(
    annotations={"note.example.com/of": "cdi.k8s.io/ is not in a key here", "io.kubernetes.container.hash": "1"},
    envs=[api.KeyValue(key="A", value="cdi.k8s.io/x=y")],
    mounts=[api.Mount(container_path="/host-run", host_path="/run", readonly=True)],
    devices=[api.Device(container_path="/dev/fuse0", host_path="/dev/null", permissions="r")],
)


@pytest.fixture(scope="module")
def untouched(series: str) -> dict[str, Any]:
    """The OCI spec of the same container where no NRI plugin has ever been."""
    with Node(series) as node:
        return comparable(node.pod().container(extra=ORDINARY).start())


@pytest.fixture
def pod(served: Served) -> Iterator[Pod]:
    yield served.node.pod()
    served.tidy()


def test_with_the_agent_at_work_its_spec_is_the_one_without_any_plugin(
    served: Served, pod: Pod, untouched: dict[str, Any]
) -> None:
    agent = served.agent
    before = agent.log()
    assert differences(untouched, comparable(pod.container(extra=ORDINARY).start())) == {}
    assert agent.log() == before


@pytest.mark.parametrize(
    "text",
    ["{", "cdiVersion: 99.0.0\nkind: a.b/c\ndevices: []\n", "\0\1\2", "- &a [*a, *a]\n"],
    ids=["half", "future", "bytes", "bomb"],
)
def test_with_broken_spec_files_it_runs_unchanged(
    served: Served, pod: Pod, untouched: dict[str, Any], text: str
) -> None:
    _ = served.agent
    path = served.write_spec("broken.yaml", text)
    container = pod.container(extra=ORDINARY).start()  # also while that file is being read
    assert differences(untouched, comparable(container)) == {}
    wait_until(lambda: f"WARNING specs: {path}" in served.agent.log(), 5, "the agent's word on the broken file")
    assert pod.container("later", extra=ORDINARY).start().running()


def test_without_spec_directories_it_runs_unchanged(served: Served, pod: Pod, untouched: dict[str, Any]) -> None:
    served.without_agent()
    flags = (*served.flags, "--cdi-dir", "/nosuch/a", "--cdi-dir", "/proc/self/status/b")
    with Agent(served.node.sandbox, "nri", *flags) as agent:
        agent.wait_ready()
        assert differences(untouched, comparable(pod.container(extra=ORDINARY).start())) == {}


def test_with_the_agent_dead_it_runs_unchanged(served: Served, pod: Pod, untouched: dict[str, Any]) -> None:
    _ = served.agent
    served.without_agent()
    assert differences(untouched, comparable(pod.container(extra=ORDINARY).start())) == {}


def test_with_the_agent_frozen_it_waits_for_the_runtimes_own_timeout_once(
    served: Served, pod: Pod, untouched: dict[str, Any]
) -> None:
    agent = served.agent
    before = served.synchronizations()
    agent.signal(signal.SIGSTOP)
    try:
        started = time.monotonic()
        frozen = pod.container("c", extra=ORDINARY).start()
        first = time.monotonic() - started
        pod.container("next", extra=ORDINARY).start()
        second = time.monotonic() - started - first
    finally:
        agent.signal(signal.SIGCONT)
    assert REQUEST_TIMEOUT - 0.1 < first < REQUEST_TIMEOUT + 1.5
    assert second < 1.5
    assert differences(untouched, comparable(frozen)) == {}

    served.wait_synchronized_again(before)
    assert served.container(served.devices(1), pod, "ours").start().sh("ls /dev/mock")[1] == "device_1\n"
    assert agent.program.poll() is None
