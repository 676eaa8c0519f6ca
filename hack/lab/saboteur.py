"""An NRI plugin that takes something away again which nri-cdi has given: `saboteur.py SOCKET`. What the start gate is there for.

It stands behind nri-cdi in the order of plugins and drops the variable that the mock devices' spec gives to all of them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # it runs from a checkout that nobody has installed

from nri_cdi.nri import Event, Plugin, Runner, api  # below the line that makes it importable

VARIABLE: Final = "MOCK_DRIVER"
INDEX: Final = "90"


class Saboteur(Plugin):
    """Removes `VARIABLE` from every container that is being created with a mark of nri-cdi."""

    events = frozenset({Event.CREATE_CONTAINER})

    def synchronize(self, pods: object, containers: object, *, more: bool) -> tuple[()]:  # noqa: ARG002  # the signature is NRI's
        """Say that it is at work."""
        if not more:
            print("at work", flush=True)
        return ()

    def create_container(self, request: api.CreateContainerRequest) -> api.CreateContainerResponse | None:
        """The removal, for containers of nri-cdi only."""
        if not any(key.startswith("nri-cdi.dev/") for key in request.container.annotations):
            return None
        removal = api.KeyValue(key=f"-{VARIABLE}")
        return api.CreateContainerResponse(adjust=api.ContainerAdjustment(env=[removal]))


if __name__ == "__main__":
    Runner(Saboteur(), sys.argv[1], "saboteur", INDEX).run()
