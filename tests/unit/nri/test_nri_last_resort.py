"""Before a method of the plugin runs, the means to end the process without the interpreter's lock is set, by the thread that calls it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from nri_cdi.nri import Event, Plugin, Runner, api
from nri_cdi.nri.shell import LAST_RESORT

if TYPE_CHECKING:
    import pathlib

    from nri_cdi.testing.runtime import FakeRuntime


class Resorts:
    """Notes what was set, and by whom."""

    def __init__(self) -> None:
        self.set: list[tuple[str, float | None]] = []

    def __call__(self, seconds: float | None) -> None:
        self.set.append((threading.current_thread().name, seconds))


class Looking(Plugin):
    """Looks at what stands when its method is called."""

    events = frozenset({Event.CREATE_CONTAINER})

    def __init__(self, resorts: Resorts) -> None:
        self._resorts = resorts
        self.seen: list[tuple[str, float | None]] = []

    def create_container(self, request: api.CreateContainerRequest) -> None:  # noqa: ARG002  # the signature is the SDK's
        """Note it."""
        self.seen.append(self._resorts.set[-1])


def test_it_is_set_before_the_plugin_is_asked_not_when_the_watchdog_gets_to_run(
    socket_path: pathlib.Path, runtime: FakeRuntime
) -> None:
    resorts = Resorts()
    plugin = Looking(resorts)
    runner = Runner(plugin, str(socket_path), "labels", "10", last_resort=resorts)
    thread = threading.Thread(target=runner.run)
    thread.start()
    try:
        link = runtime.connect()
        runtime.request_timeout = 2.0
        link.create_container(api.PodSandbox(id="p"), api.Container(id="c"))
    finally:
        runner.stop()
        thread.join()
    ((name, seconds),) = plugin.seen
    assert name == "nri-serve"
    assert seconds is not None
    assert 1.0 < seconds <= 1.0 + LAST_RESORT
