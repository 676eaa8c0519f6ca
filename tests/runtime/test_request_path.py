"""What a request makes the agent do, seen by the interpreter and by the kernel: request_path_expected.txt and nothing else."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lab import mock
from lab.agent import CHECKOUT, Agent
from lab.driver import Driver, container_request
from lab.sandbox import Sandbox
from lab.served import allocated
from lab.trouble import wait_until

from nri_cdi.allocation import DEFAULT_PREFIX
from nri_cdi.nri import api

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.served import Served

HERE = Path(__file__).parent
AUDIT_LOG = "/var/log/audit"
TRACED = "trace=%file,getdents,getdents64,execve,execveat,connect,fork,vfork,clone,clone3"


def expected(section: str) -> set[str]:
    """The lines of a section of the expectation."""
    text = (HERE / "request_path_expected.txt").read_text()
    body = text.partition(f"[{section}]\n")[2].partition("\n[")[0]
    return {line for line in body.splitlines() if line and not line.startswith("#")}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        mock.create(sandbox.path("/"))
        yield sandbox


def requests() -> list[tuple[str, bytes]]:
    """100 requests: containers of ours and of others, refused ones, starts in both forms."""
    ours = dict(allocated(DEFAULT_PREFIX, [mock.name(1), mock.name(2)], guard=False).annotations)
    unknown = dict(allocated(DEFAULT_PREFIX, [mock.name(99)], guard=False).annotations)
    foreign = {f"{DEFAULT_PREFIX}other_1": mock.name(1)}
    malformed = {f"{DEFAULT_PREFIX}other_2": "no name"}
    calls: list[tuple[str, bytes]] = []
    for keys in ({}, ours, unknown, foreign, malformed):
        create = container_request(keys)
        start = api.StartContainerRequest(pod=create.pod, container=create.container)
        event = api.StateChangeEvent(event=api.Event.START_CONTAINER, pod=create.pod, container=create.container)
        calls += [
            ("CreateContainer", create.SerializeToString()),
            ("CreateContainer", create.SerializeToString()),
            ("StartContainer", start.SerializeToString()),
            ("StateChange", event.SerializeToString()),
        ]
    return calls * 5


def test_serving_100_requests_opens_lists_imports_and_starts_nothing(sandbox: Sandbox) -> None:
    calls = requests()
    assert len(calls) == 100
    env = {"PYTHONPATH": f"{HERE / 'audited'}:{CHECKOUT}", "AUDIT_LOG": AUDIT_LOG}
    with Driver(sandbox.path("/run/nri/nri.sock")) as driver, Agent(sandbox, "nri", env=env) as agent:
        driver.accept()
        agent.wait_ready()
        audit = sandbox.path(AUDIT_LOG)
        before = audit.stat().st_size
        answers = [driver.call(*call) for call in calls]
        seen = audit.read_bytes()[before:].decode().splitlines()

    assert before > 0, "nothing was written down at all"
    assert set(seen) == expected("audit events")
    outcomes = {answer.status.code for answer in answers}
    assert outcomes == {0, 9}, "the requests do not show both injections and refusals"


def file_calls(trace: str) -> set[str]:
    """The calls of a trace: the name and the path; `stat` and `lstat` under their own names whichever call the C library makes."""
    seen = set()
    for line in trace.splitlines():
        found = re.search(r"\b(\w+)\((.*)", line)
        if found is None or "resumed>" in line:
            continue
        name, arguments = found.groups()
        if name in {"newfstatat", "fstatat64", "statx"}:
            name = "lstat" if "AT_SYMLINK_NOFOLLOW" in arguments else "stat"
        path = re.search(r'"([^"]*)"', arguments)
        seen.add(f"{name} {path[1]}" if path else name)
    return seen


def test_a_container_costs_a_look_at_its_devices_and_mount_sources_and_no_other_file(served: Served) -> None:
    if shutil.which("strace") is None:
        pytest.fail("strace is not on this machine: apt-get install strace", pytrace=False)
    agent = served.agent
    pod = served.node.pod()
    served.container(served.devices(1, 2), pod, "first")
    trace = served.node.path("/var/log/strace")
    command = ["strace", "-f", "-qq", "-e", TRACED, "-e", "signal=none", "-o", str(trace), "-p", str(agent.pid)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as strace:  # noqa: S603 - our own words
        tracer = re.compile(rf"^TracerPid:\t{strace.pid}$", re.MULTILINE)
        threads = Path(f"/proc/{agent.pid}/task")
        wait_until(
            lambda: all(tracer.search((thread / "status").read_text()) for thread in threads.iterdir()), 10, "strace"
        )
        plain = pod.container("plain").start()
        ours = served.container(served.devices(1, 2), pod, "ours").start()
        strace.send_signal(signal.SIGINT)
        strace.wait(10)
    assert plain.running()
    assert ours.running()
    assert file_calls(trace.read_text()) == expected("system calls on files")
