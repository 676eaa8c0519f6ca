"""While a handler of ours hangs: who is answered, how soon, and what ends it. Against the least runtime there is, which measures only us."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lab.agent import CHECKOUT, Agent
from lab.driver import REQUEST_TIMEOUT, Driver, container_request
from lab.sandbox import Sandbox
from lab.served import allocated, node_spec
from lab.trouble import LabError, wait_until

from nri_cdi.agent import DEADLINE
from nri_cdi.allocation import DEFAULT_PREFIX
from nri_cdi.nri import api

if TYPE_CHECKING:
    from collections.abc import Iterator

HANGING = Path(__file__).parent / "hanging"
KIND = "trouble.example.com/dev"
AT_ONCE = 0.05
"""Seconds, the promise to containers that are not ours."""


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A node whose devices make a look at them go wrong."""
    with Sandbox() as sandbox:
        spec = node_spec(KIND)
        spec["devices"] = [
            {"name": name, "containerEdits": {"deviceNodes": [{"path": f"/dev/trouble/{name}"}]}}
            for name in ("hang", "hold")
        ]
        directory = sandbox.path("/etc/cdi")
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "trouble.json").write_text(json.dumps(spec))
        yield sandbox


@pytest.fixture
def driver(sandbox: Sandbox) -> Iterator[Driver]:
    """A runtime with an agent that has nothing to do yet."""
    env = {"PYTHONPATH": f"{HANGING}:{CHECKOUT}"}
    with Driver(sandbox.path("/run/nri/nri.sock")) as driver, Agent(sandbox, "nri", env=env) as agent:
        driver.accept()
        agent.wait_ready()
        yield driver


def with_devices(name: str) -> api.CreateContainerRequest:
    """A request for a container that was allocated such a device."""
    return container_request(dict(allocated(DEFAULT_PREFIX, [f"{KIND}={name}"], guard=False).annotations))


def test_it_is_refused_in_a_quarter_of_a_second_and_all_others_are_answered_at_once(driver: Driver) -> None:
    answer, seconds = driver.timed("CreateContainer", with_devices("hang").SerializeToString())
    assert (answer.status.code, "did not come to a decision in time" in answer.status.message) == (9, True)
    assert DEADLINE <= seconds < REQUEST_TIMEOUT * 0.75

    keyless, ours = container_request({}), with_devices("nosuch")
    times = []
    for _ in range(20):
        for method, message in (
            ("CreateContainer", keyless.SerializeToString()),
            (
                "StateChange",
                api.StateChangeEvent(
                    event=api.Event.START_CONTAINER, pod=keyless.pod, container=keyless.container
                ).SerializeToString(),
            ),
        ):
            answer, seconds = driver.timed(method, message)
            assert (answer.status.code, answer.payload) == (0, b"")
            times.append(seconds)
    assert sorted(times)[len(times) // 2] < AT_ONCE  # the machine may be busy with other things for a moment
    answer, seconds = driver.timed("CreateContainer", ours.SerializeToString())
    assert "did not come to a decision in time" in answer.status.message
    assert seconds < REQUEST_TIMEOUT / 4


@pytest.mark.parametrize("idle", [False, True], ids=["at work", "idle before"])
def test_a_handler_that_holds_the_interpreter_ends_the_process_before_the_runtimes_time_is_up(
    driver: Driver, sandbox: Sandbox, *, idle: bool
) -> None:
    if idle:
        # nothing is watched for any more: one deadline has passed since the last request
        driver.call("CreateContainer", container_request({}).SerializeToString())
        end = time.monotonic() + REQUEST_TIMEOUT / 2 + 0.2
        wait_until(lambda: time.monotonic() > end, 5, "the deadline of the request before")
    started = time.monotonic()
    with pytest.raises((LabError, OSError)):
        driver.call("CreateContainer", with_devices("hold").SerializeToString())
    assert time.monotonic() - started < REQUEST_TIMEOUT
    logs = list(sandbox.path("/var/log").glob("nri-cdi-nri-*.log"))
    assert any("in _device_node" in log.read_text() for log in logs), "it does not say where it was"
