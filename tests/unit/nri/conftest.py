"""What the tests of the NRI SDK stand on: a short socket path, a runner that must end well, and its log."""

from __future__ import annotations

import logging
import pathlib
import shutil
import tempfile
import threading
from typing import TYPE_CHECKING

import pytest

from nri_cdi.nri import Plugin, Runner
from nri_cdi.testing.runtime import FakeRuntime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

JOIN = 5.0


@pytest.fixture
def socket_path() -> Iterator[pathlib.Path]:
    """Short, because a unix socket's path has at most 107 bytes and tmp_path can be longer."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="nri-"))
    yield directory / "nri.sock"
    shutil.rmtree(directory)


@pytest.fixture
def runtime(socket_path: pathlib.Path) -> Iterator[FakeRuntime]:
    with FakeRuntime(socket_path, request_timeout=20) as runtime:  # no deadline passes unless a test wants it
        yield runtime


@pytest.fixture
def serve(socket_path: pathlib.Path) -> Iterator[Callable[[Plugin], Runner]]:
    """Serve a plugin. At the end the runner stops, no thread is left, and no bug of ours ended one."""
    reasons: list[str] = []
    runners: list[tuple[Runner, threading.Thread]] = []

    def start(plugin: Plugin) -> Runner:
        runner = Runner(plugin, str(socket_path), "labels", "10", fatal=reasons.append)
        thread = threading.Thread(target=runner.run, name="nri-run")
        thread.start()
        runners.append((runner, thread))
        return runner

    yield start
    for runner, _ in runners:
        runner.stop()
    ours = [thread for thread in threading.enumerate() if thread.name.startswith("nri-")]
    for thread in ours:
        thread.join(JOIN)
    assert [thread for thread in ours if thread.is_alive()] == []
    assert reasons == []


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.changed = threading.Condition()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        with self.changed:
            self.lines.append(record.getMessage())
            self.changed.notify_all()


@pytest.fixture
def logged() -> Iterator[Callable[[str], list[str]]]:
    """Wait until a line with this text has been logged: all lines so far."""
    handler = _Lines()
    logger = logging.getLogger("nri_cdi.nri")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)

    def wait(text: str) -> list[str]:
        with handler.changed:
            assert handler.changed.wait_for(lambda: any(text in line for line in handler.lines), JOIN), handler.lines
            return list(handler.lines)

    yield wait
    logger.removeHandler(handler)
    logger.setLevel(level)
