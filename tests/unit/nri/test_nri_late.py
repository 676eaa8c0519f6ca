"""A runner that was frozen: containerd 1.7 keeps a plugin whose Synchronize was late, and never asks it again."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from nri_cdi.nri import Event, Plugin, Runner, Terms
from nri_cdi.testing.runtime import FakeRuntime

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Sequence

    from nri_cdi.nri import api


class Clock:
    """The time, and what was slept through."""

    def __init__(self) -> None:
        self.slept = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.slept


class Sleeper(Plugin):
    """Sleeps through each of its first `times` handshakes for longer than the runtime waits, as far as the clock goes."""

    events = frozenset({Event.CREATE_CONTAINER})

    def __init__(self, clock: Clock, times: int) -> None:
        self._clock, self._times = clock, times

    def synchronize(
        self,
        pods: Sequence[api.PodSandbox],  # noqa: ARG002  # the method's own
        containers: Sequence[api.Container],  # noqa: ARG002
        *,
        more: bool,  # noqa: ARG002
    ) -> Sequence[api.ContainerUpdate]:
        if self._times > 0:
            self._times -= 1
            self._clock.slept += 25.0
        return ()


def served(
    socket_path: pathlib.Path, times: int, check: Callable[[FakeRuntime, Runner], None], version: str = "1.7.24"
) -> list[str]:
    """Run `check` beside a runner whose plugin sleeps through so many handshakes; why a thread of it ended by a bug."""
    reasons: list[str] = []
    clock = Clock()
    with FakeRuntime(socket_path, version, request_timeout=20) as runtime:
        # its own deadline is far off: what is looked at is the time that the runtime had
        runner = Runner(
            Sleeper(clock, times),
            str(socket_path),
            "labels",
            "10",
            fatal=reasons.append,
            clock=clock,
            terms=Terms(deadline=1000),
        )
        thread = threading.Thread(target=runner.run)
        thread.start()
        try:
            check(runtime, runner)
        finally:
            runner.stop()
            thread.join(5)
    assert not thread.is_alive()
    return reasons


def test_a_synchronize_answered_too_late_is_followed_by_a_new_connection(socket_path: pathlib.Path) -> None:
    def check(runtime: FakeRuntime, runner: Runner) -> None:
        runtime.connect().wait_closed()
        runtime.connect()
        assert runner.synchronized

    assert served(socket_path, 1, check) == []


def test_a_runtime_that_is_slow_each_time_is_not_left_each_time(socket_path: pathlib.Path) -> None:
    def check(runtime: FakeRuntime, runner: Runner) -> None:
        runtime.connect().wait_closed()
        runtime.connect().shutdown()  # answered: the second one is kept
        assert runner.synchronized

    assert served(socket_path, 2, check) == []


def test_a_runtime_that_closes_late_connections_itself_is_not_left(socket_path: pathlib.Path) -> None:
    """From containerd 2.0 on Synchronize may come late by itself: it waits while a container is being stopped."""

    def check(runtime: FakeRuntime, runner: Runner) -> None:
        runtime.connect().shutdown()
        assert runner.synchronized

    assert served(socket_path, 1, check, "2.1.9") == []
