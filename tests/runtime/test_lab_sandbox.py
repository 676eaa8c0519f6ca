from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lab import mock
from lab.node import Node
from lab.sandbox import Sandbox
from lab.trouble import LabError, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

HACK = Path(__file__).resolve().parents[2] / "hack"

HOLDER = textwrap.dedent(
    """
    import signal, sys, time
    from lab.node import Node
    from lab import mock
    node = Node(sys.argv[1]).start()
    mock.create(node.path("/"))
    container = node.pod().container().start()
    if "frozen" in sys.argv:
        frozen = node.sandbox.popen(["sleep", "600"], "/var/log/frozen.log")
        frozen.signal(signal.SIGSTOP)
    print(node.sandbox.name, node.sandbox.pid, flush=True)
    time.sleep(600)
    """
)


@dataclass(frozen=True, slots=True)
class World:
    """A sandbox as the machine sees it, remembered while it lives."""

    name: str
    namespace: str

    @classmethod
    def of(cls, name: str, init: int) -> World:
        return cls(name, str(Path(f"/proc/{init}/ns/mnt").readlink()))

    def traces(self) -> list[str]:
        """What is there of it: processes, mounts, cgroups, directories."""
        processes = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (
                    str((process / "ns/mnt").readlink()) == self.namespace
                    or self.name in (process / "cgroup").read_text()
                    or self.name.encode() in (process / "cmdline").read_bytes()
                ):
                    processes.append(str(process))
        mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if self.name in line]
        cgroups = [str(p) for pattern in (self.name, f"*/{self.name}") for p in Path("/sys/fs/cgroup").glob(pattern)]
        places = ("/tmp", "/run", "/run/containerd/s", "/var/lib")
        directories = [str(path) for place in places for path in Path(place).glob(f"*{self.name}*")]
        return [*processes, *mounts, *cgroups, *directories]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """One sandbox for the tests that do not end it."""
    with Sandbox() as sandbox:
        yield sandbox


def machine() -> dict[str, list[str]]:
    """What the machine itself has at the places that sandboxes make private."""
    places = ("/", "/dev", "/etc/cdi", "/run", "/run/containerd", "/run/nri", "/var/lib", "/opt", "/var/lib/kubelet")
    return {place: sorted(path.name for path in Path(place).iterdir()) for place in places if Path(place).is_dir()}


def test_the_standard_paths_are_private(sandbox: Sandbox) -> None:
    before = machine()
    for place in ("dev", "etc", "etc/cdi", "run", "var/lib", "var/lib/kubelet", "var/log", "opt", "mock"):
        sandbox.run("touch", f"/{place}/only-inside")
        assert sandbox.path(f"/{place}/only-inside").exists()
    mock.create(sandbox.path("/"))
    assert machine() == before


def test_a_mock_device_inside_has_no_driver_and_can_be_opened_for_that_answer(sandbox: Sandbox) -> None:
    mock.create(sandbox.path("/"))
    with pytest.raises(OSError, match="No such device or address") as caught:
        os.open(sandbox.path("/dev/mock/device_0"), os.O_RDONLY)
    assert caught.value.errno == errno.ENXIO


def test_the_machines_devices_and_terminals_work_inside(sandbox: Sandbox) -> None:
    assert sandbox.run("sh", "-c", "head -c 3 /dev/zero | od -An -tx1; ls -d /dev/pts/ptmx; echo x >/dev/null") == (
        " 00 00 00\n/dev/pts/ptmx\n"
    )


def test_the_machines_files_are_the_same_inside(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "later").write_text("made after the sandbox")
    assert sandbox.run("cat", str(tmp_path / "later")) == "made after the sandbox"
    assert sandbox.run("cat", __file__) == Path(__file__).read_text()


def test_a_socket_inside_is_reached_by_its_path_outside(sandbox: Sandbox) -> None:
    path = sandbox.path("/var/lib/kubelet/x.sock")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(path))
        server.listen()
        client.connect(str(path))
    assert sandbox.run("ls", "/var/lib/kubelet/x.sock") == "/var/lib/kubelet/x.sock\n"


def test_processes_of_the_machine_are_not_seen_inside(sandbox: Sandbox) -> None:
    assert sandbox.run("cat", "/proc/1/comm") == "sleep\n"
    numbers = sandbox.run("sh", "-c", "echo /proc/[0-9]*").split()
    assert f"/proc/{os.getpid()}" not in numbers
    assert len(numbers) < 10


def test_signals_reach_the_program_and_its_status_comes_back(sandbox: Sandbox) -> None:
    trap = 'trap "echo got it; exit 7" TERM; echo up; while :; do sleep 0.01; done'
    program = sandbox.popen(["sh", "-c", trap], "/var/log/trap.log")
    log = sandbox.path("/var/log/trap.log")
    wait_until(lambda: "up" in log.read_text(), 5, "the shell")
    assert program.rss() > 0
    assert program.stop() == 7
    assert log.read_text() == "up\ngot it\n"
    with pytest.raises(LabError, match="ended with 7"):
        program.rss()


def test_a_killed_program_ends_with_its_signal(sandbox: Sandbox) -> None:
    program = sandbox.popen(["sleep", "1000"], "/var/log/sleep.log")
    assert program.poll() is None
    assert program.kill() == -signal.SIGKILL


def test_orphans_leave_no_zombies(sandbox: Sandbox) -> None:
    sandbox.run("sh", "-c", "(sleep 0.05 &) ; exit 0")
    states = "cat /proc/[0-9]*/status | grep '^State:.*zombie' || true"
    wait_until(lambda: "sleep 0.05" not in sandbox.run("ps", "-ef"), 5, "the end of the orphan")
    assert sandbox.run("sh", "-c", states) == ""


def test_a_command_that_fails_says_what_it_printed(sandbox: Sandbox) -> None:
    with pytest.raises(LabError, match=r"ls /nosuch ended with 2: .*No such file"):
        sandbox.run("ls", "/nosuch")


def test_two_sandboxes_do_not_see_each_other(sandbox: Sandbox) -> None:
    with Sandbox() as other:
        other.run("touch", "/etc/cdi/others.yaml")
        assert not sandbox.path("/etc/cdi/others.yaml").exists()


def test_nothing_is_left_behind_after_stop(series: str) -> None:
    with Node(series) as node:
        node.pod().container().start()
        world = World.of(node.sandbox.name, node.sandbox.pid)
        assert {"/proc", "/sys"} <= {"/" + trace.split("/")[1] for trace in world.traces()}
    assert world.traces() == []


def test_nothing_is_left_behind_after_a_stop_with_containerd_dead(series: str) -> None:
    with Node(series) as node:
        node.pod().container().start()
        world = World.of(node.sandbox.name, node.sandbox.pid)
        node.kill_daemon()
    assert world.traces() == []


@pytest.mark.parametrize(
    ("whole_group", "state"),
    [(False, "at work"), (True, "at work"), (False, "frozen")],
    ids=["process", "process group", "with a frozen program"],
)
def test_nothing_is_left_behind_when_the_holder_is_killed(series: str, state: str, *, whole_group: bool) -> None:
    before = machine()
    with subprocess.Popen(  # noqa: S603 - our own words
        [sys.executable, "-c", HOLDER, series, state],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(HACK)},
        start_new_session=True,
    ) as holder:
        assert holder.stdout is not None
        name, init = holder.stdout.readline().split()
        world = World.of(name, int(init))
        assert world.traces()
        if whole_group:
            os.killpg(holder.pid, signal.SIGKILL)
        else:
            holder.kill()
    wait_until(lambda: not world.traces(), 10, f"the end of {world.traces()}")
    assert machine() == before


def test_the_sandbox_dies_with_its_guardian() -> None:
    sandbox = Sandbox()
    guardian = sandbox._guardian
    guardian.kill()
    guardian.wait()
    wait_until(lambda: not Path(f"/proc/{sandbox.pid}").exists(), 5, "the end of the sandbox's init")
    with pytest.raises(LabError, match="left cgroups behind"):
        sandbox.stop()
