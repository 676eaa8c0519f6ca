"""An NRI plugin that sets what a container's annotation says, as another plugin on the node may: `rival.py SOCKET INDEX`.

The annotation `rival-INDEX.example.com/adjust` holds the adjustment in protobuf's JSON. Containers without it are left alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

from google.protobuf import json_format

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # it runs from a checkout that nobody has installed

from nri_cdi.nri import Event, Plugin, Runner, api  # below the line that makes it importable


def annotation(index: str) -> str:
    """The key of the annotation that the rival of this index obeys."""
    return f"rival-{index}.example.com/adjust"


class Rival(Plugin):
    """Adjusts containers that ask it to."""

    events = frozenset({Event.CREATE_CONTAINER})

    def __init__(self, index: str) -> None:
        self._key = annotation(index)

    def synchronize(self, pods: object, containers: object, *, more: bool) -> tuple[()]:  # noqa: ARG002  # the signature is NRI's
        """Say that it is at work."""
        if not more:
            print("at work", flush=True)
        return ()

    def create_container(self, request: api.CreateContainerRequest) -> api.CreateContainerResponse | None:
        """The adjustment that the container asks for."""
        wanted = request.container.annotations.get(self._key)
        if wanted is None:
            return None
        return api.CreateContainerResponse(adjust=json_format.Parse(wanted, api.ContainerAdjustment()))


if __name__ == "__main__":
    Runner(Rival(sys.argv[2]), sys.argv[1], "rival", sys.argv[2]).run()
