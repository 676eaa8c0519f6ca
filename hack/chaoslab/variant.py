"""`nri-cdi` with something of it changed for a test: `variant.py VARIANT COMMAND FLAGS...`.

slow:SECONDS   each decision over a container of ours takes that much longer
careless       the layers are off: what would be refused is let through, and "ours or not" takes every container for ours; slow:0.3 as well
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from nri_cdi import inject
from nri_cdi.cli import main
from nri_cdi.inject.plugin import InjectPlugin
from nri_cdi.nri import Event, Refused, api

if TYPE_CHECKING:
    from nri_cdi.nri import Plugin


def slow(seconds: float) -> type[Plugin]:
    """The plugin, as if a look at the host's files took `seconds`."""

    class Slow(InjectPlugin):
        def create_container(self, request: api.CreateContainerRequest) -> api.CreateContainerResponse | None:
            time.sleep(seconds)
            return super().create_container(request)

    return Slow


class Careless(InjectPlugin):
    """The plugin as one would write it first: nothing refuses a container with devices, and all containers go the same way."""

    def concerns(self, event: Event, payload: bytes, *, state_change: bool) -> bool:  # noqa: ARG002 - the same for all
        """Everything."""
        return True

    def create_container(self, request: api.CreateContainerRequest) -> api.CreateContainerResponse | None:
        """Inject; a container whose devices cannot be had gets none."""
        time.sleep(0.3)
        try:
            return super().create_container(request)
        except Refused:
            if request.container.annotations:
                return None
            raise

    def state_change(self, event: Event, pod: api.PodSandbox, container: api.Container) -> None:
        """No start gate."""


def run(variant: str, arguments: list[str]) -> int:
    """Run the command line with the plugin exchanged; the agent looks it up when it is built."""
    name, _, seconds = variant.partition(":")
    inject.InjectPlugin = Careless if name == "careless" else slow(float(seconds))  # type: ignore[misc,assignment]  # a test's change
    return main(arguments)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], sys.argv[2:]))
