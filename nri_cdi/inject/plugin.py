"""The NRI half as a plugin: what the decision needs is brought together here, and what it says is answered and logged."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from nri_cdi.cdi import InjectionError, UnresolvedDevices, fill
from nri_cdi.nri import Event, Plugin, Refused, api

from .adjustment import adjustment
from .concern import Concern
from .decision import decide
from .gate import check_start
from .refusals import Reason, Refusal
from .request import shown, subject_of
from .runtime import UNKNOWN, capabilities

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nri_cdi.cdi import Snapshot
    from nri_cdi.host.root import HostRoot
    from nri_cdi.nri import Runtime

    from .refusals import Subject

LOG = logging.getLogger("nri_cdi.inject")

SETTLING: Final = 0.33
"""Seconds that a container of ours waits for spec files that are changing: a third of our own deadline."""


class InjectPlugin(Plugin):
    """Injects CDI devices at CreateContainer and checks them at StartContainer.

    `current` gives the snapshot that holds all that happened before now, waiting up to that many seconds, or None.
    """

    events = frozenset({Event.CREATE_CONTAINER, Event.START_CONTAINER})

    def __init__(self, current: Callable[[float], Snapshot | None], host: HostRoot, prefix: str) -> None:
        self._current, self._host, self._prefix = current, host, prefix
        self._concern = Concern(prefix)
        self._runtime = UNKNOWN

    def concerns(self, event: Event, payload: bytes, *, state_change: bool) -> bool:  # noqa: ARG002  # the same for all
        """Whether the container is any business of ours: see `concern`."""
        return self._concern(payload, state_change=state_change)

    def configure(self, runtime: Runtime) -> None:
        """Note what the runtime can do."""
        self._runtime = capabilities(runtime)

    def create_container(self, request: api.CreateContainerRequest) -> api.CreateContainerResponse | None:
        """Inject the devices that the container's annotations name, or refuse it."""
        container = shown(request.pod, request.container)
        try:
            decision = decide(container, self._settled(container.subject), self._host, self._runtime, self._prefix)
        except Refusal as refusal:
            raise _refused(refusal) from refusal
        if decision is None:
            return None
        LOG.info("injected %s into %s", ", ".join(decision.names), container.subject)
        return api.CreateContainerResponse(adjust=adjustment(decision, self._runtime))

    def state_change(self, event: Event, pod: api.PodSandbox, container: api.Container) -> None:
        """The start gate."""
        if event is Event.START_CONTAINER:
            try:
                check_start(shown(pod, container), self._prefix)
            except Refusal as refusal:
                raise _refused(refusal) from refusal

    def overdue(self, event: Event, payload: bytes) -> Refused:
        """The refusal of a container whose decision did not come in time."""
        message = (
            api.CreateContainerRequest.FromString(payload)
            if event is Event.CREATE_CONTAINER
            else api.StateChangeEvent()
        )
        what = "nri-cdi did not come to a decision in time, a look at the host's files still hangs"
        refusal = Refusal(
            Reason.OVERDUE,
            subject_of(message.pod, message.container),
            what,
            "it is tried again; is a host path of its CDI devices on a dead network file system?",
        )
        return _refused(refusal)

    def check(self, names: Sequence[str]) -> str | None:
        """Why a container with these devices would be refused now, as far as can be told without it; None if it would not."""
        snapshot = self._current(SETTLING)
        if snapshot is None:
            return "the CDI spec files on the node are changing at this moment"
        try:
            edits = snapshot.resolve(names)
            for node in edits.device_nodes:
                fill(node, self._host)
        except (UnresolvedDevices, InjectionError) as error:
            return str(error)
        return None

    def _settled(self, subject: Subject) -> Snapshot:
        snapshot = self._current(SETTLING)
        if snapshot is None:
            raise Refusal(
                Reason.SPECS_UNSETTLED,
                subject,
                "CDI spec files on the node are changing at this moment and have not been read yet",
                "it is tried again",
            )
        return snapshot


def _refused(refusal: Refusal) -> Refused:
    LOG.warning("%s (%s)", refusal, refusal.reason)
    return Refused(str(refusal))
