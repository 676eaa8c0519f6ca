"""Each layer alone keeps a container from running without its devices; and where that layer too is off, the container does run without them.

The second half of each pair shows that the first one can fail. What is off: the start gate by its setting, the guard by not being in Allocate's
answer, PreStartContainer by nobody asking it, the strict link by default.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from chaoslab.slots import variant_agent
from lab import mock
from lab.agent import CHECKOUT, Agent
from lab.config import NRI_SOCKET
from lab.cri import CriError
from lab.served import node_spec
from lab.standin import StandInPod
from lab.trouble import wait_until

from nri_cdi.allocation import GUARD_ROOT, GUARD_SENTENCE
from nri_cdi.testing.kubelet import FakeKubelet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.pods import Container
    from lab.served import Served

HANGING = Path(__file__).parent / "hanging"
KIND = "trouble.example.com/dev"
TROUBLES = ("hang", "hold", "die", "raise")
NO_GATE = ("--start-gate", "off")
NO_DEADLINE = ("--deadline", "30")
"""Far behind the runtime's own."""


@pytest.fixture
def troubled(served: Served) -> Served:
    """The node with devices at which the agents of `agent` come to grief, each named for how; their nodes are on the host."""
    served.without_agent()
    directory = served.node.path("/dev/trouble")
    directory.mkdir(exist_ok=True)
    for number, name in enumerate(TROUBLES):
        with contextlib.suppress(FileExistsError):
            os.mknod(directory / name, stat.S_IFCHR | 0o666, os.makedev(mock.MAJOR, 100 + number))
    spec = node_spec(KIND)
    spec["devices"] = [
        {"name": name, "containerEdits": {"deviceNodes": [{"path": f"/dev/trouble/{name}"}]}} for name in TROUBLES
    ]
    served.write_spec("trouble.json", spec)
    return served


def agent(served: Served, *flags: str) -> Agent:
    """An NRI half that comes to grief at the devices of KIND; for a `with` block."""
    env = {"PYTHONPATH": f"{HANGING}:{CHECKOUT}"}
    return Agent(served.node.sandbox, "nri", *served.flags, *flags, env=env)


def inside(container: Container) -> list[str]:
    """The device nodes that a running container has of those in this file."""
    assert container.running()
    return container.sh("cd /dev; ls -d trouble/* mock/* 2>/dev/null")[1].split()


# -- the own deadline, and what stands behind it


def test_the_own_deadline_alone_refuses_a_container_whose_decision_hangs(troubled: Served) -> None:
    with agent(troubled, *NO_GATE) as nri:
        nri.wait_ready()
        pod = troubled.node.pod()
        with pytest.raises(CriError, match="nri-cdi did not come to a decision in time") as caught:
            pod.container(extra=troubled.allocation(f"{KIND}=hang", guard=False))
        assert f'container "c" of pod "default/{pod.name}" with {KIND}=hang' in caught.value.details
        assert pod.container("plain").start().running()
        with pytest.raises(CriError, match="did not come to a decision"):  # ours: at once, as long as it hangs
            pod.container("ours", extra=troubled.devices(1, guard=False))


def test_without_an_own_deadline_that_container_runs_without_its_devices(troubled: Served) -> None:
    with agent(troubled, *NO_GATE, *NO_DEADLINE) as nri:
        nri.wait_ready()
        container = troubled.node.pod().container(extra=troubled.allocation(f"{KIND}=hang", guard=False))
        assert inside(container.start()) == []
        nri.kill()  # in order it would first answer what hangs


def test_what_a_decision_raises_refuses_the_container(troubled: Served) -> None:
    with agent(troubled, *NO_GATE) as nri:
        nri.wait_ready()
        with pytest.raises(CriError, match="refused: internal error: RuntimeError: nobody expects this"):
            troubled.node.pod().container(extra=troubled.allocation(f"{KIND}=raise", guard=False))


@pytest.mark.parametrize("trouble", ["hold", "die"])
def test_an_agent_that_cannot_answer_any_more_ends_and_the_second_slot_injects_in_the_same_request(
    troubled: Served, trouble: str
) -> None:
    with (
        agent(troubled, *NO_GATE) as first,
        Agent(troubled.node.sandbox, "nri", "--plugin-index", "11", *NO_GATE, *troubled.flags) as second,
    ):
        first.wait_ready()
        second.wait_ready()
        container = troubled.node.pod().container(extra=troubled.allocation(f"{KIND}={trouble}", guard=False))
        assert inside(container.start()) == [f"trouble/{trouble}"]
        wait_until(lambda: first.program.poll() is not None, 1, "the first slot's end")
        assert "injected" in second.log()


def test_alone_such_an_agent_leaves_the_container_to_the_guard(troubled: Served) -> None:
    with agent(troubled, *NO_GATE) as nri:
        nri.wait_ready()
        container = troubled.node.pod().container(extra=troubled.allocation(f"{KIND}=hold"))
        wait_until(lambda: nri.program.poll() is not None, 1, "the agent's end")
        with pytest.raises(CriError, match=GUARD_SENTENCE):
            container.start()


def test_without_the_guard_too_it_runs_without_its_devices(troubled: Served) -> None:
    with agent(troubled, *NO_GATE) as nri:
        nri.wait_ready()
        container = troubled.node.pod().container(extra=troubled.allocation(f"{KIND}=hold", guard=False))
        assert inside(container.start()) == []


# -- PreStartContainer


@contextlib.contextmanager
def kubelet_half(served: Served, *flags: str, kind: str = mock.KIND, count: int = mock.COUNT) -> Iterator[FakeKubelet]:
    """A kubelet that knows the `count` devices of `kind` through a kubelet half without guards; no NRI half runs."""
    served.without_agent()
    directory = served.node.path("/var/lib/kubelet/device-plugins")
    directory.mkdir(parents=True, exist_ok=True)
    flags = ("--resource", kind, "--guard", "off", *flags)
    with FakeKubelet(directory) as kubelet, Agent(served.node.sandbox, "device-plugin", *flags, *served.flags):
        kubelet.wait_for(lambda: kubelet.allocatable(kind) == count, 10)
        yield kubelet


def test_prestart_alone_keeps_a_container_from_being_created_while_the_nri_half_is_away(served: Served) -> None:
    with kubelet_half(served) as kubelet:
        pod = StandInPod(kubelet, served.node, "only-prestart", mock.KIND, 1)
        status = pod.sync()
        assert (status.phase, status.reason) == ("Pending", "CreateContainerConfigError")
        assert pod.running_containers() == 0
        with Agent(served.node.sandbox, "nri", *NO_GATE, *served.flags) as nri:
            nri.wait_ready()
            pod.wait_running(10)
            assert pod.container is not None
            assert inside(pod.container) == [f"mock/{pod.ids[0]}"]


def test_without_prestart_that_container_runs_without_its_devices(served: Served) -> None:
    with kubelet_half(served, "--pre-start", "off") as kubelet:
        pod = StandInPod(kubelet, served.node, "no-prestart", mock.KIND, 1)
        assert pod.sync().running
        assert pod.container is not None
        assert inside(pod.container) == []


HOSTS = "hosts.example.com/dev"
"""A kind of one device whose number is the host node's, so that a node that is missing matters."""


def give(served: Served) -> None:
    """Make the spec of HOSTS and the host's node, where they are missing."""
    served.write_spec("hosts.json", node_spec(HOSTS, "one", deviceNodes=[{"path": "/dev/mock/hosts"}]))
    with contextlib.suppress(FileExistsError):
        os.mknod(served.node.path("/dev/mock/hosts"), stat.S_IFCHR | 0o666, os.makedev(mock.MAJOR, 110))


def take_spec(served: Served) -> None:
    """Remove the spec."""
    served.node.path("/etc/cdi/hosts.json").unlink()


def take_node(served: Served) -> None:
    """Remove the node."""
    served.node.path("/dev/mock/hosts").unlink()


@contextlib.contextmanager
def allocated_to_pod(served: Served, *flags: str) -> Iterator[tuple[StandInPod, Agent]]:
    """A pod that was allocated the device of HOSTS, and the node's NRI half, which injects where it can and refuses nothing."""
    give(served)
    half = kubelet_half(served, *flags, kind=HOSTS, count=1)
    with half as kubelet, variant_agent(served.node, "lenient", *served.flags) as nri:
        nri.wait_ready()
        pod = StandInPod(kubelet, served.node, "allocated", HOSTS, 1)
        assert pod.admit()
        yield pod, nri


LACKS = pytest.mark.parametrize(
    ("take", "sentence"),
    [
        pytest.param(take_spec, f"unresolvable CDI device {HOSTS}=one", id="name"),
        pytest.param(take_node, "/dev/mock/hosts, and there is none on the host", id="node"),
    ],
)


@LACKS
def test_prestart_alone_keeps_a_container_from_being_created_while_a_name_or_a_node_is_missing(
    served: Served, take: Callable[[Served], None], sentence: str
) -> None:
    with allocated_to_pod(served) as (pod, _):
        take(served)
        status = pod.sync()
        assert (status.phase, status.reason) == ("Pending", "CreateContainerConfigError")
        assert sentence in status.message
        assert pod.running_containers() == 0
        give(served)
        pod.wait_running(10)
        assert pod.container is not None
        assert inside(pod.container) == ["mock/hosts"]


@LACKS
def test_without_prestart_such_a_container_runs_without_its_devices(
    served: Served, take: Callable[[Served], None], sentence: str
) -> None:
    with allocated_to_pod(served, "--pre-start", "off") as (pod, nri):
        take(served)
        assert pod.sync().running
        assert pod.container is not None
        assert inside(pod.container) == []
        assert sentence in nri.log()  # which it would have refused


# -- the start gate, in both forms of the event: up to containerd 2.1 a StateChange, from 2.3 a call of its own


def created_meanwhile(served: Served) -> Container:
    """A container of a mock device, created while no agent was there."""
    served.without_agent()
    return served.node.pod().container(extra=served.devices(1, guard=False))


def test_the_start_gate_alone_refuses_a_container_that_was_created_while_we_were_away(served: Served) -> None:
    container = created_meanwhile(served)
    with Agent(served.node.sandbox, "nri", *served.flags) as nri:
        nri.wait_ready()
        with pytest.raises(CriError, match="it was created without its CDI devices"):
            container.start()
        assert not container.running()


def test_without_the_start_gate_that_container_runs_without_its_devices(served: Served) -> None:
    container = created_meanwhile(served)
    with Agent(served.node.sandbox, "nri", *NO_GATE, *served.flags) as nri:
        nri.wait_ready()
        assert inside(container.start()) == []


@contextlib.contextmanager
def sabotaged(served: Served, *flags: str) -> Iterator[Container]:
    """A container of a mock device, created with an agent, and with a plugin behind it that takes a variable away again."""
    served.without_agent()
    log = "/var/log/saboteur"
    with Agent(served.node.sandbox, "nri", *served.flags, *flags) as nri:
        nri.wait_ready()
        program = served.node.sandbox.popen([sys.executable, str(CHECKOUT / "hack/lab/saboteur.py"), NRI_SOCKET], log)
        try:
            served.node.path(log).write_text("")
            wait_until(lambda: "at work" in served.node.path(log).read_text(), 10, "the saboteur")
            yield served.node.pod().container(extra=served.devices(1, guard=False))
        finally:
            program.kill()


def test_the_start_gate_alone_refuses_a_container_from_which_a_later_plugin_took_something_away(served: Served) -> None:
    with sabotaged(served) as container:
        with pytest.raises(
            CriError, match="1 of the things that its CDI devices brought at creation is not in it any more"
        ):
            container.start()
        assert not container.running()


def test_without_the_start_gate_that_container_runs_with_less_than_was_promised(served: Served) -> None:
    with sabotaged(served, *NO_GATE) as container:
        assert inside(container.start()) == ["mock/device_1"]
        assert "MOCK_DRIVER" not in container.exec("env")


# -- the guard


def test_the_guard_alone_keeps_a_container_from_starting_while_nobody_of_us_is_there(served: Served) -> None:
    served.without_agent()
    container = served.node.pod().container(extra=served.devices(1))
    with pytest.raises(CriError, match=GUARD_SENTENCE):
        container.start()
    assert not container.running()


def test_without_the_guard_that_container_runs_without_its_devices(served: Served) -> None:
    served.without_agent()
    assert inside(served.node.pod().container(extra=served.devices(1, guard=False)).start()) == []


def test_the_guard_is_lifted_without_a_trace_of_a_device_by_the_injection_of_its_own_key(served: Served) -> None:
    served.without_agent()
    with Agent(served.node.sandbox, "nri", *NO_GATE, *served.flags) as nri:
        nri.wait_ready()
        pod = served.node.pod()
        container = pod.container(extra=served.devices(1)).start()
        assert inside(container) == ["mock/device_1"]
        assert container.sh(f"test ! -c {GUARD_ROOT}")[0] == 0

        other = served.devices(2)
        other.annotations.clear()
        other.MergeFrom(served.devices(3, guard=False))
        with pytest.raises(CriError, match=r"it has the guard of the allocation .* without the annotation"):
            pod.container("other-key", extra=other)
