"""`nri-cdi` with something of it changed for a test: `variant.py VARIANT COMMAND FLAGS...`.

slow:SECONDS   each decision over a container of ours takes that much longer
lenient        what would be refused at creation is let through without its devices, and there is no start gate
careless       all layers are off: lenient, "ours or not" takes every container for ours, and each decision takes 0.3 s
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final

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


class Lenient(InjectPlugin):
    """The plugin without a refusal: a container whose devices cannot be had gets none."""

    def create_container(self, request: api.CreateContainerRequest) -> api.CreateContainerResponse | None:
        """Inject if that can be done."""
        try:
            return super().create_container(request)
        except Refused:
            if request.container.annotations:
                return None
            raise

    def state_change(self, event: Event, pod: api.PodSandbox, container: api.Container) -> None:
        """No start gate."""


class Careless(Lenient):
    """The plugin as one would write it first: nothing refuses a container with devices, and all containers go the same way."""

    def concerns(self, event: Event, payload: bytes, *, state_change: bool) -> bool:  # noqa: ARG002 - the same for all
        """Everything."""
        return True

    def create_container(self, request: api.CreateContainerRequest) -> api.CreateContainerResponse | None:
        """Take one's time."""
        time.sleep(0.3)
        return super().create_container(request)


PLAIN: Final[dict[str, type[Plugin]]] = {"lenient": Lenient, "careless": Careless}


def run(variant: str, arguments: list[str]) -> int:
    """Run the command line with the plugin exchanged; the agent looks it up when it is built."""
    name, _, seconds = variant.partition(":")
    inject.InjectPlugin = PLAIN.get(name) or slow(float(seconds))  # type: ignore[misc,assignment]  # a test's change
    return main(arguments)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], sys.argv[2:]))
