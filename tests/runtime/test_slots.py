"""Two NRI halves on one node: one slot serves once, two slots stand by for each other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from lab.agent import READY, Agent
from lab.served import node_spec

from nri_cdi.allocation import MARK_DOMAIN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.served import Served

TRACE = "/run/slot-trace"
KIND = "slots.example.com/dev"


@pytest.fixture
def standby(served: Served) -> Iterator[Agent]:
    """A second NRI half, of index 11, beside the shared one of index 10."""
    _ = served.agent
    served.node.path(TRACE).unlink(missing_ok=True)
    hook = {"hookName": "createRuntime", "path": "/bin/sh", "args": ["sh", "-c", f"echo hooked >>{TRACE}"]}
    edits: dict[str, Any] = {
        "env": ["ONE=1"],
        "deviceNodes": [{"path": "/dev/mock/device_7"}],
        "mounts": [{"hostPath": "/mock/lib", "containerPath": "/libs", "options": ["rbind", "ro"]}],
        "hooks": [hook],
    }
    served.write_spec("slots.json", node_spec(KIND, "a", **edits))
    with Agent(served.node.sandbox, "nri", "--plugin-index", "11", *served.flags) as agent:
        yield agent.wait_ready()


def inner_pid(agent: Agent) -> str:
    """The agent's process id as it knows it itself, in its PID namespace."""
    found = re.search(r"^NSpid:.*\t(\d+)$", Path(f"/proc/{agent.pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def test_a_second_agent_in_the_same_slot_waits_names_the_first_and_follows_it(served: Served) -> None:
    first = served.agent
    with Agent(served.node.sandbox, "nri", *served.flags) as second:
        second.wait_log(f"the slot 10-nri-cdi is held by process {inner_pid(first)}")
        pod = served.node.pod()
        served.container(served.devices(1), pod, "of-first").start()
        assert READY not in second.log()
        served.without_agent()
        second.wait_ready()
        container = served.container(served.devices(2), pod, "of-second").start()
        assert container.sh("ls /dev/mock")[1] == "device_2\n"
        assert 'into container "of-second"' in second.log()


def test_with_two_slots_nothing_is_done_twice(served: Served, standby: Agent) -> None:
    container = served.container(served.allocation(f"{KIND}=a")).start()
    spec = container.spec()

    assert served.node.path(TRACE).read_text() == "hooked\n"
    assert len(spec["hooks"]["createRuntime"]) == 1
    assert spec["process"]["env"].count("ONE=1") == 1
    assert [device["path"] for device in spec["linux"]["devices"]] == ["/dev/mock/device_7"]
    assert [mount["destination"] for mount in spec["mounts"]].count("/libs") == 1
    rules = [rule for rule in spec["linux"]["resources"]["devices"] if rule.get("minor") == 7]
    assert len(rules) == 1
    assert len([key for key in spec["annotations"] if key.startswith(MARK_DOMAIN)]) == 1
    assert standby.program.poll() is None


def test_the_second_slot_injects_when_the_first_is_gone(served: Served, standby: Agent) -> None:
    served.without_agent()
    container = served.container(served.allocation(f"{KIND}=a")).start()
    assert container.sh("ls /dev/mock")[1] == "device_7\n"
    assert "injected" in standby.log()
