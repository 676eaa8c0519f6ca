"""NRI for Python: write a plugin for containerd's Node Resource Interface.

    from nri_cdi.nri import Event, Plugin, Runner, api

    class Labels(Plugin):
        events = frozenset({Event.CREATE_CONTAINER})

        def create_container(self, request):
            return api.CreateContainerResponse(adjust=api.ContainerAdjustment(annotations={"seen.example.com/by": "labels"}))

    Runner(Labels(), "/var/run/nri/nri.sock", "labels", "10").run()

From the bottom to the top: versions, events | session (a state machine without I/O), plugin | dispatch, words, connection | shell (socket, threads, clock).
`api` holds the messages, generated from proto/nri/nri.proto in a descriptor pool of their own.
"""

from . import api
from .events import Event
from .plugin import Plugin, Refused
from .session import RegistrationRefused, Request, Runtime, Session, Silent, State, Step, Terms
from .shell import Runner
from .versions import Version, nri_version

__all__ = [
    "Event",
    "Plugin",
    "Refused",
    "RegistrationRefused",
    "Request",
    "Runner",
    "Runtime",
    "Session",
    "Silent",
    "State",
    "Step",
    "Terms",
    "Version",
    "api",
    "nri_version",
]
