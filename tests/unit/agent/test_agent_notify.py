"""The agent as a service (Type=notify): when it tells its manager that what is ordered behind it may start."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import select
import socket
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest

from nri_cdi.testing.runtime import FakeRuntime

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMANDS = ("run", "nri", "device-plugin")
SOON = 60.0
"""Seconds: less than any test may take, more than an agent needs on a busy machine."""

GPU_SOCKET = "kubelet/plugins_registry/nri-cdi_device.example.com_gpu.sock"
IMPATIENT = """
import sys
from nri_cdi import agent, cli
agent.READY_LIMIT = agent.READY_LIMIT_NRI = 0.3
"""
PATIENT = """
import sys
from nri_cdi import agent, cli
agent.READY_LIMIT = agent.READY_LIMIT_NRI = 3600.0
"""
HANGING = """
import subprocess
from nri_cdi.host import reader
agent.FIRST_SNAPSHOT = 0.05
def begin(_directories):
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-S", "-c", "import sys; sys.stdin.read()"], stdin=pipe, stdout=pipe, stderr=pipe)
reader.begin = begin
"""
HELD = """
import pathlib, time
from nri_cdi.host import reader
agent.FIRST_SNAPSHOT = 0.05
gate, begin = pathlib.Path(sys.argv[sys.argv.index("--run-dir") + 1], "gate"), reader.begin
def held(directories):
    while not gate.exists():
        time.sleep(0.01)
    return begin(directories)
reader.begin = held
agent.Specs.start = lambda self: None  # it would wait there; `run` reads all the same
"""
MAIN = "sys.exit(cli.main(sys.argv[1:]))"


class Service:
    """`nri-cdi COMMAND`, which touches nothing outside of `place`, and what it tells its manager."""

    def __init__(self, place: pathlib.Path, command: str, program: str) -> None:
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(str(place / "notify"))
        where = ("--cdi-dir", f"{place}/cdi", "--nri-socket", f"{place}/nri.sock", "--run-dir", f"{place}/run")
        kubelet = ("--kubelet-dir", f"{place}/kubelet", "--resource", "device.example.com/gpu")
        self.process = subprocess.Popen(  # noqa: S603  # our own program
            [sys.executable, "-c", program + MAIN, command, *where, *kubelet, "--registration", "plugins-registry"],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "NOTIFY_SOCKET": str(place / "notify")},
        )

    def told(self, patience: float = 0.0) -> str:
        """The next thing that it tells within so many seconds; empty if that is nothing."""
        ready, _, _ = select.select([self._sock], [], [], patience)
        return self._sock.recv(4096).decode() if ready else ""

    def wait_log(self, text: str) -> None:
        """Read its log up to a line with this text."""
        assert self.process.stderr is not None
        next(line for line in self.process.stderr if text in line)

    def end(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.communicate()
        self._sock.close()


@pytest.fixture
def place() -> Iterator[pathlib.Path]:
    """A node's directories, short because of the length of socket paths, with one device."""
    with tempfile.TemporaryDirectory(prefix="an-") as directory:
        place = pathlib.Path(directory)
        for name in ("cdi", "run", "kubelet/device-plugins", "kubelet/plugins_registry"):
            (place / name).mkdir(parents=True)
        device = {"name": "0", "containerEdits": {"env": ["GPU=0"]}}
        spec = {"cdiVersion": "0.6.0", "kind": "device.example.com/gpu", "devices": [device]}
        (place / "cdi" / "gpu.json").write_text(json.dumps(spec))
        yield place


@contextlib.contextmanager
def service(place: pathlib.Path, command: str, program: str) -> Iterator[Service]:
    it = Service(place, command, program)
    try:
        yield it
    finally:
        it.end()


def test_the_kubelet_half_is_ready_when_a_kubelet_would_find_its_socket_without_any_being_there(
    place: pathlib.Path,
) -> None:
    with service(place, "device-plugin", PATIENT) as half:
        assert half.told(SOON) == "READY=1"
        with socket.socket(socket.AF_UNIX) as kubelet:
            kubelet.connect(str(place / GPU_SOCKET))
        assert half.told(0.1) == ""


def test_the_kubelet_half_is_not_ready_before_it_has_read_the_specs(place: pathlib.Path) -> None:
    with service(place, "device-plugin", PATIENT + HELD) as half:
        half.wait_log("the spec files are not read yet")
        assert half.told(0.3) == ""
        assert not (place / GPU_SOCKET).exists()
        (place / "run" / "gate").touch()
        assert half.told(SOON) == "READY=1"
        assert (place / GPU_SOCKET).exists()


@pytest.mark.parametrize("command", ["nri", "run"])
def test_the_nri_half_is_ready_when_the_runtime_has_synchronized_it_and_not_before(
    place: pathlib.Path, command: str
) -> None:
    with FakeRuntime(place / "nri.sock", timeout=SOON) as runtime, service(place, command, PATIENT) as half:
        link = runtime.accept()
        link.register()
        link.configure()
        assert half.told(0.3) == ""
        link.synchronize()
        assert half.told(SOON) == "READY=1"


@pytest.mark.parametrize("command", COMMANDS)
def test_specs_that_cannot_be_read_hold_up_nothing_for_longer_than_the_limit(place: pathlib.Path, command: str) -> None:
    with service(place, command, IMPATIENT + HANGING) as half:
        assert half.told(SOON) == "READY=1"
        half.wait_log(
            "not ready after 0.3 s; what waits for this service starts all the same: specs: the CDI spec files"
        )


@pytest.mark.parametrize("command", ["run", "nri"])
def test_a_runtime_that_is_down_holds_up_nothing_for_longer_than_the_limit(place: pathlib.Path, command: str) -> None:
    program = IMPATIENT.replace("0.3", "1.5")
    with service(place, command, program) as half:
        assert half.told(SOON) == "READY=1"
        half.wait_log("not ready after 1.5 s; what waits for this service starts all the same: ")
