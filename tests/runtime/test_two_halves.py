"""The two halves as processes of their own, and a kubelet that speaks the real device plugin API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab import mock
from lab.agent import Agent
from lab.standin import StandInPod

from nri_cdi.testing.kubelet import FakeKubelet, PreStartError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.served import Served


@pytest.fixture
def kubelet(served: Served) -> Iterator[FakeKubelet]:
    """A kubelet that knows the mock devices, with the kubelet half running and no NRI half."""
    served.without_agent()
    directory = served.node.path("/var/lib/kubelet/device-plugins")
    directory.mkdir(exist_ok=True)
    plugin = Agent(served.node.sandbox, "device-plugin", "--resource", mock.KIND, *served.flags)
    with FakeKubelet(directory) as kubelet, plugin:
        kubelet.wait_for(lambda: kubelet.allocatable(mock.KIND) == mock.COUNT, 10)
        yield kubelet


def test_no_container_is_created_while_the_nri_half_is_down_and_it_is_when_it_is_back(
    served: Served, kubelet: FakeKubelet
) -> None:
    pod = StandInPod(kubelet, served.node, "halves", mock.KIND, 2)
    status = pod.sync()
    assert (status.phase, status.reason) == ("Pending", "CreateContainerConfigError")
    assert "no NRI half of nri-cdi runs on this node" in status.message or "does not answer" in status.message
    assert pod.running_containers() == 0

    agent = served.agent
    assert pod.sync().running
    assert pod.container is not None
    assert pod.container.exec("ls", "/dev/mock").split() == list(pod.ids)

    agent.kill()
    assert pod.restart_container().reason == "CreateContainerConfigError"
    _ = served.agent
    assert pod.restart_container().running


def test_prestart_refuses_while_containerd_is_down_and_says_so(served: Served, kubelet: FakeKubelet) -> None:
    agent = served.agent
    pod = StandInPod(kubelet, served.node, "unsynchronized", mock.KIND, 1)
    assert pod.sync().running
    served.node.stop_daemon()
    agent.wait_log("lost")
    with pytest.raises(PreStartError, match="is not synchronized with the container runtime"):
        kubelet.prestart(mock.KIND, pod.ids)
    before = served.synchronizations()
    served.node.start_daemon()
    # containerd's CRI is ready some milliseconds before its NRI is: until then the kubelet is refused, and asks again
    served.wait_synchronized_again(before)
    kubelet.prestart(mock.KIND, pod.ids)
