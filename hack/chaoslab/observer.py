"""An NRI plugin of the harness that notes when it is asked: `observer.py INDEX FILE`.

Three of them stand around the agent, which has 10 and 11: from 00 to 01 is what one step of the runtime costs now, from 01 to 99 is that and the agent.
Each line of FILE is `SECONDS create|start POD CONTAINER`, on the machine's monotonic clock.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from nri_cdi.nri import Event, Plugin, Runner, api

if TYPE_CHECKING:
    from collections.abc import Sequence


class Observer(Plugin):
    """Notes each CreateContainer and StartContainer in `out`, and changes nothing."""

    events = frozenset({Event.CREATE_CONTAINER, Event.START_CONTAINER})

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def create_container(self, request: api.CreateContainerRequest) -> None:
        """Note it."""
        self._note("create", request.pod, request.container)

    def state_change(self, event: Event, pod: api.PodSandbox, container: api.Container) -> None:
        """Note it."""
        if event is Event.START_CONTAINER:
            self._note("start", pod, container)

    def _note(self, what: str, pod: api.PodSandbox, container: api.Container) -> None:
        self._out.write(f"{time.monotonic():.6f} {what} {pod.name} {container.name}\n")


def main(arguments: Sequence[str]) -> int:
    """Observe until killed."""
    index, path = arguments
    with Path(path).open("a", buffering=1) as out:
        Runner(Observer(out), "/run/nri/nri.sock", "observer", index).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
