"""While the agent is away nothing runs without its devices, and when it is back everything goes on by itself."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest
from lab import mock
from lab.cri import CriError
from lab.trouble import wait_until

from nri_cdi.allocation import GUARD_SENTENCE

if TYPE_CHECKING:
    from lab.pods import Container
    from lab.served import Served

REQUEST_TIMEOUT = 2
"""Seconds that containerd gives a plugin for an answer, unless it is configured otherwise."""


def test_the_start_gate_refuses_a_container_that_was_created_while_the_agent_was_away(served: Served) -> None:
    _ = served.agent
    served.without_agent()
    pod = served.node.pod()
    container = pod.container(extra=served.devices(1, guard=False))
    plain = pod.container("plain")
    foreign = pod.container("foreign", annotations={f"{served.prefix}other-plugin_1": mock.name(1)})
    _ = served.agent
    with pytest.raises(CriError) as caught:
        container.start()

    refusal = served.refused_as(caught.value)
    assert refusal.reason == "not-injected"
    assert f'container "c" of pod "default/{pod.name}"' in refusal.text
    assert not container.running()
    assert plain.start().running()
    assert foreign.start().running()


def test_an_agent_that_comes_while_a_container_is_being_stopped_connects_once(served: Served) -> None:
    """containerd 2 synchronizes no plugin meanwhile, however long it takes, and creates no container while one waits for that."""
    served.without_agent()
    stubborn = served.node.pod().container().start()  # a first process without a handler does not end at SIGTERM
    stopping = threading.Thread(target=stubborn.stop, args=(REQUEST_TIMEOUT + 1,))
    stopping.start()
    agent = served.agent
    stopping.join()
    assert served.container(served.devices(1)).start().running()
    assert "connecting again" not in agent.log()


def test_without_the_agent_the_guard_stops_the_container_and_says_what_is_the_matter(served: Served) -> None:
    _ = served.agent
    served.without_agent()
    pod = served.node.pod()
    config = served.devices(1)
    container = pod.container(extra=config)
    with pytest.raises(CriError) as caught:
        container.start()

    assert GUARD_SENTENCE in caught.value.details
    assert not container.running()
    container.remove()
    _ = served.agent
    assert served.container(config, pod).start().sh("ls /dev/mock")[1] == "device_1\n"


def test_the_guard_stops_a_container_of_two_allocations_too(served: Served) -> None:
    _ = served.agent
    served.without_agent()
    both = served.devices(1)
    both.MergeFrom(served.devices(2))
    del both.mounts[2]  # the second parent: the kubelet keeps one
    with pytest.raises(CriError, match=GUARD_SENTENCE.split(" - ", maxsplit=1)[0]):
        served.node.pod().container(extra=both).start()


def injected(container: Container) -> list[str]:
    """The device nodes that were put into a container."""
    return [device["path"] for device in container.spec()["linux"].get("devices", ())]


def test_the_first_pod_after_a_restart_of_containerd_gets_its_devices(served: Served) -> None:
    """Without a guard and without asking anybody: nothing but the agent being there in time brings the device in."""
    agent = served.agent
    for number in range(4):
        served.node.stop_daemon(signal.SIGTERM if number % 2 else signal.SIGKILL)
        served.node.start_daemon()
        container = served.node.pod().container(extra=served.devices(number, guard=False))
        assert injected(container) == [f"/dev/mock/device_{number}"]
    assert agent.program.poll() is None


def test_once_the_nri_half_says_that_it_is_ready_the_next_container_is_injected(served: Served) -> None:
    """10 of 10, asked as PreStartContainer asks, from the first moment of a starting containerd on."""
    _ = served.agent
    pod = served.node.pod()
    for number in range(10):
        served.node.kill_daemon()
        wait_until(lambda: served.unready() is not None, 5, "the agent's word that containerd is gone")
        served.node.start_daemon()
        wait_until(lambda: served.unready() is None, 10, "the agent's readiness")
        container = pod.container(f"c{number}", extra=served.devices(number % mock.COUNT, guard=False))
        assert injected(container) == [f"/dev/mock/device_{number % mock.COUNT}"]


def test_a_stopped_agent_ends_at_once_and_in_order(served: Served) -> None:
    agent = served.agent
    container = served.container(served.devices(1)).start()
    started = time.monotonic()
    assert agent.stop() == 0
    assert time.monotonic() - started < 1
    assert container.exec("ls", "/dev/mock") == "device_1\n"
