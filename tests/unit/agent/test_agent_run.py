"""The agent as a process: it runs whole, ends when it is told to, and what it cannot have ends it, with nothing left running."""

from __future__ import annotations

import contextlib
import http.client
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest

from nri_cdi.agent import _ask
from nri_cdi.readiness import Slots

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMANDS = ("run", "nri", "device-plugin")
SOON = 60.0
"""Seconds: a process of ours that is left half dead fails its test after that."""

PROGRAM = ("-m", "nri_cdi")
FAILING = """
import sys, types
from nri_cdi import agent, cli
def fail():
    raise OSError("there is no room")
agent.gc = types.SimpleNamespace(freeze=fail)  # called when some threads have started, and others not
sys.exit(cli.main(sys.argv[1:]))
"""
CANNOT_BE = """
import os, sys
from nri_cdi import agent
from nri_cdi.settings import Settings
place = sys.argv[1]
settings = Settings(resource=("Not_a_Vendor.com/gpu",), cdi_dir=(place + "/cdi",), kubelet_dir=place + "/kubelet", run_dir=place + "/run")
try:
    agent.run(settings, nri=sys.argv[2] == "run", kubelet=True)
except ValueError as error:
    print(error)
try:
    print("left:", os.waitpid(-1, os.WNOHANG))
except ChildProcessError:
    print("no child is left")
"""
HANGING = """
import logging, sys, threading
from concurrent.futures import ThreadPoolExecutor
from nri_cdi import agent, cli
def run(*_, **__):
    ThreadPoolExecutor(1).submit(threading.Event().wait)
    print("the last words")
    return 0
agent.run = run
sys.exit(cli.main(sys.argv[1:]))
"""
DEAD = """
import subprocess, sys
from nri_cdi import agent, cli
from nri_cdi.host import reader
agent.FIRST_SNAPSHOT, agent.ENDING = 0.05, 0.5
class Undead(subprocess.Popen):
    def kill(self):
        pass
def begin(_directories):
    code = "import os, time\\nparent = os.getppid()\\nwhile os.getppid() == parent: time.sleep(0.05)"
    pipe = subprocess.PIPE
    return Undead([sys.executable, "-S", "-c", code], stdin=pipe, stdout=pipe, stderr=pipe)
reader.begin = begin
sys.exit(cli.main(sys.argv[1:]))
"""
HUNG = """
import pathlib, sys, threading
from nri_cdi import agent, cli
from nri_cdi.host.specs import Specs
agent.FIRST_SNAPSHOT, agent.ENDING = 0.05, 0.5
run_dir = pathlib.Path(sys.argv[sys.argv.index("--run-dir") + 1])
Specs.run = lambda self: threading.Event().wait()
Specs.stop = lambda self: print("sockets:", *run_dir.glob("*.sock"), file=sys.stderr)
sys.exit(cli.main(sys.argv[1:]))
"""


MIDST = """
import io, os, signal, sys
from nri_cdi import agent, cli
class Raw(io.RawIOBase):
    def writable(self):
        return True
    def write(self, data):
        if b"not read yet" in bytes(data):
            os.kill(os.getpid(), signal.SIGTERM)
        return os.write(2, data)
sys.stderr = io.TextIOWrapper(io.BufferedWriter(Raw()), line_buffering=True)
agent.Specs.current = lambda *_: None
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.fixture
def place() -> Iterator[pathlib.Path]:
    """A node's directories, short because of the length of socket paths."""
    with tempfile.TemporaryDirectory(prefix="ar-") as directory:
        place = pathlib.Path(directory)
        for name in ("cdi", "kubelet/device-plugins"):
            (place / name).mkdir(parents=True)
        yield place


def agent(place: pathlib.Path, command: str, *arguments: str, program: tuple[str, ...] = PROGRAM) -> list[str]:
    """The command line of an agent that touches nothing outside of `place`."""
    where = ("--cdi-dir", f"{place}/cdi", "--nri-socket", f"{place}/nri.sock", "--run-dir", f"{place}/run")
    kubelet = ("--kubelet-dir", f"{place}/kubelet", "--resource", "device.example.com/gpu")
    return [sys.executable, *program, command, *where, *kubelet, *arguments]


def ended(command: list[str]) -> tuple[int, str]:
    """Exit status and last line of an agent that ends by itself, and of whatever it started: they share its stderr."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=SOON, check=False)  # noqa: S603  # our own program
    return done.returncode, done.stderr.splitlines()[-1]


@pytest.mark.parametrize("command", COMMANDS)
def test_an_address_that_cannot_be_had_ends_the_agent_with_status_3(place: pathlib.Path, command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        for address, why in ((f"127.0.0.1:{other.getsockname()[1]}", "already in use"), ("192.0.2.1:9810", "assign")):
            status, said = ended(agent(place, command, "--http", address))
            assert status == 3
            assert said.startswith(f"nri-cdi: cannot listen on {address}: ")
            assert why in said
            assert said.endswith("; --http names another address")


@pytest.mark.parametrize("command", COMMANDS)
def test_what_fails_when_threads_run_already_ends_them(place: pathlib.Path, command: str) -> None:
    assert ended(agent(place, command, program=("-c", FAILING))) == (3, "nri-cdi: there is no room")


@pytest.mark.parametrize("command", ["run", "device-plugin"])
def test_settings_that_cannot_be_leave_no_process_behind(place: pathlib.Path, command: str) -> None:
    arguments = [sys.executable, "-c", CANNOT_BE, str(place), command]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=SOON, check=True)  # noqa: S603  # our own program
    assert "Not_a_Vendor.com" in done.stdout
    assert done.stdout.endswith("\nno child is left\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_thread_that_hangs_does_not_keep_the_process_that_was_told_to_end(place: pathlib.Path, command: str) -> None:
    arguments = agent(place, command, program=("-c", HANGING))
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=SOON, check=True)  # noqa: S603  # our own program
    assert done.stdout == "the last words\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_signal_in_the_midst_of_a_log_line_ends_the_agent_and_spoils_no_line(
    place: pathlib.Path, command: str
) -> None:
    done = subprocess.run(  # noqa: S603  # our own program
        agent(place, command, program=("-c", MIDST)), capture_output=True, text=True, timeout=SOON, check=False
    )
    lines = done.stderr.splitlines()
    assert done.returncode == 0
    assert any(line.endswith("agent: SIGTERM: stopping") for line in lines)
    assert all(line[:4].isdigit() for line in lines), "each is a line of the log"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_reading_process_that_cannot_be_killed_does_not_keep_the_agent(place: pathlib.Path, command: str) -> None:
    told_to_end(agent(place, command, program=("-c", DEAD)))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_thread_of_the_specs_that_hangs_is_left_behind_after_the_halves_have_ended(
    place: pathlib.Path, command: str
) -> None:
    said = told_to_end(agent(place, command, program=("-c", HUNG)))
    assert said[-2] == "sockets:"
    assert said[-1].endswith(" agent: the thread specs hangs: it is left behind")


def told_to_end(command: list[str]) -> list[str]:
    """What an agent without a snapshot logs from when it is told to end; it must end well, and soon."""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:  # noqa: S603  # our own program
        try:
            assert running.stderr is not None
            next(line for line in running.stderr if "the spec files are not read yet" in line)
            running.send_signal(signal.SIGTERM)
            said = running.stderr.read().splitlines()
            assert running.wait(SOON) == 0
            return said
        finally:
            running.kill()


def test_an_agent_serves_its_pages_until_it_is_told_to_end(place: pathlib.Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = agent(place, "run", "--http", f"127.0.0.1:{port}")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:  # noqa: S603  # our own program
        try:
            assert running.stderr is not None
            next(line for line in running.stderr if "nri.sock: it is not there" in line)
            assert page(port, "/healthz") == (200, "ok\n")
            status, text = page(port, "/readyz")
            assert status == 503
            assert [line.partition(":")[0] for line in text.splitlines()] == ["nri", "kubelet"]
            running.send_signal(signal.SIGTERM)
            assert running.wait(SOON) == 0
        finally:
            running.kill()


def page(port: int, path: str) -> tuple[int, str]:
    """What an agent answers."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=SOON)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def test_the_log_says_what_may_be_the_matter_where_no_nri_half_was_ever_seen_and_a_refusal_does_not(
    place: pathlib.Path,
) -> None:
    slots = Slots(str(place), "/run/nri/nri.sock")
    refusal = f"no NRI half of nri-cdi runs on this node (looked in {place})"
    assert _ask(slots, ("v.com/gpu=0",)) == refusal
    assert (
        _ask(slots, ())
        == f"{refusal}; both halves must have the same --run-dir and --nri-socket (ours is /run/nri/nri.sock)"
    )
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(slots.path("10", "nri-cdi", "sock")))
    assert _ask(slots, ()) == "the NRI half 10-nri-cdi does not answer (connection refused): is it running?"
