"""A plugin that the runtime starts itself: it serves the connection it was given, and ends with it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from nri_cdi.nri import Event, Plugin
from nri_cdi.nri.inherited import InheritedRunner
from nri_cdi.testing.runtime import FakeRuntime

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Quiet(Plugin):
    events = frozenset({Event.CREATE_CONTAINER})


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[FakeRuntime]:
    with FakeRuntime(tmp_path / "s", request_timeout=20) as it:
        yield it


def given(path: Path) -> socket.socket:
    """A connection to the runtime, as it would hand over."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(str(path))
    return sock


def serving(path: Path) -> tuple[InheritedRunner, threading.Thread, list[str]]:
    reasons: list[str] = []
    runner = InheritedRunner(Quiet(), given(path), "quiet", "10", fatal=reasons.append)
    thread = threading.Thread(target=runner.run)
    thread.start()
    return runner, thread, reasons


def test_it_registers_on_the_connection_it_was_given_and_ends_when_that_is_lost(
    runtime: FakeRuntime, tmp_path: Path
) -> None:
    runner, thread, reasons = serving(tmp_path / "s")
    link = runtime.accept()
    assert link.register().plugin_name == "quiet"
    link.configure()
    link.synchronize()
    assert runner.synchronized
    link.close()
    thread.join(10)
    assert not thread.is_alive()
    assert reasons == []


def test_it_ends_when_the_runtime_refuses_it(runtime: FakeRuntime, tmp_path: Path) -> None:
    _, thread, reasons = serving(tmp_path / "s")
    runtime.accept().refuse_registration("no")
    thread.join(10)
    assert not thread.is_alive()
    assert reasons == []


def test_it_stops_when_it_is_told_to(runtime: FakeRuntime, tmp_path: Path) -> None:
    runner, thread, _ = serving(tmp_path / "s")
    link = runtime.accept()
    link.register()
    runner.stop()
    link.wait_closed()
    thread.join(10)
    assert not thread.is_alive()


def agent(tmp_path: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "nri_cdi", "nri", "--run-dir", str(tmp_path / "run"), "--cdi-dir", str(tmp_path)),
    ]


def test_the_agent_takes_socket_name_and_index_from_the_runtimes_environment_and_ends_with_the_connection(
    runtime: FakeRuntime, tmp_path: Path
) -> None:
    with given(tmp_path / "s") as sock:
        environment = {"NRI_PLUGIN_SOCKET": str(sock.fileno()), "NRI_PLUGIN_NAME": "named", "NRI_PLUGIN_IDX": "42"}
        # no PATH and no HOME, and nothing to write to: as the runtime starts plugins
        process = subprocess.Popen(  # noqa: S603  # ourselves
            agent(tmp_path),
            env=environment,
            pass_fds=[sock.fileno()],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    link = runtime.accept()
    said = link.register()
    assert (said.plugin_name, said.plugin_idx) == ("named", "42")
    link.configure()
    link.synchronize()
    link.close()
    assert process.wait(20) == 0


@pytest.mark.parametrize("given", ["99", "seven"])
def test_a_socket_that_is_none_is_said_with_status_2(tmp_path: Path, given: str) -> None:
    environment = {**os.environ, "NRI_PLUGIN_SOCKET": given}
    done = subprocess.run(agent(tmp_path), env=environment, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603  # ourselves
    assert done.returncode == 2
    assert f"NRI_PLUGIN_SOCKET is {given}" in done.stderr
