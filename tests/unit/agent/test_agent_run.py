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
