"""The NRI half as a plugin: what the decision needs is brought together here, and what it says is answered and logged."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError

from nri_cdi.allocation import own_key_name
from nri_cdi.nri import Event, Plugin, Refused, Terms, api
from nri_cdi.nri.session import NO_TIMEOUT

from .accounts import Accounts
from .adjustment import adjustment
from .concern import Concern
from .decision import decide, fill_from, resolve
from .gate import check_start
from .keys import keys, named
from .policy import ALLOW_ALL, Policy
from .refusals import TEXT_MAX, Reason, Refusal, Subject, shortened
from .request import shown, subject_of
from .runtime import UNKNOWN, capabilities
from .standby import done_already

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nri_cdi.cdi import Snapshot
    from nri_cdi.host.root import HostRoot
    from nri_cdi.nri import Runtime

LOG = logging.getLogger("nri_cdi.inject")

SETTLING: Final = 0.33
"""Seconds that a container of ours waits for spec files that are changing, at most."""

SETTLING_PART: Final = 0.8
"""The part of our own deadline that this may take."""


_NOBODY: Final = Subject("", "", "")


@dataclass(frozen=True, slots=True)
class Stance:
    """How the operator wants it; see the settings of the same names. `patience`: our own deadline for a request timeout of the runtime. `observe`: decide and log, change nothing."""

    prefix: str
    patience: Callable[[float], float] = Terms().patience
    start_gate: bool = True
    strict_link: bool = False
    observe: bool = False
    foreign_keys: bool = True
    trust_pod: bool = False
    policy: Policy = ALLOW_ALL


class InjectPlugin(Plugin):
    """Injects CDI devices at CreateContainer and checks them at StartContainer.

    `current` gives the snapshot that holds all that happened before now, waiting up to that many seconds, or None.
    """

    def __init__(self, current: Callable[[float], Snapshot | None], host: HostRoot, stance: Stance) -> None:
        self._current, self._host, self._stance = current, host, stance
        self._prefix = stance.prefix
        self._concern = Concern(stance.prefix)
        self._runtime = UNKNOWN
        self._settling = SETTLING
        self._pods: dict[str, api.PodSandbox] = {}  # while Synchronize comes in parts
        self._found: set[str] = set()  # likewise, the ids of containers
        self.accounts = Accounts()
        # whoever has subscribed to this event and then fails in CreateContainer fails the creation: NRI 0.10 to 0.12.4
        strict = {Event.VALIDATE_CONTAINER_ADJUSTMENT} if stance.strict_link else set()
        self.events = frozenset({Event.CREATE_CONTAINER, Event.START_CONTAINER, Event.REMOVE_CONTAINER, *strict})

    def concerns(self, event: Event, payload: bytes, *, state_change: bool) -> bool:  # noqa: ARG002  # the same for all
        """Whether the container is any business of ours: see `concern`."""
        return self._concern(payload, state_change=state_change)

    def configure(self, runtime: Runtime) -> None:
        """Note what the runtime can do."""
        self._runtime = capabilities(runtime)
        self._settling = min(SETTLING, self._stance.patience(runtime.request_timeout or NO_TIMEOUT) * SETTLING_PART)

    def synchronize(
        self, pods: Sequence[api.PodSandbox], containers: Sequence[api.Container], *, more: bool
    ) -> Sequence[api.ContainerUpdate]:
        """Fill the accounts from what runs already, and report containers with an allocation that was not injected."""
        self._pods |= {pod.id: pod for pod in pods}
        for container in containers:
            if self._own(container):
                self._found.add(container.id)
                pod = self._pods.get(container.pod_sandbox_id, api.PodSandbox())
                ended = container.state == api.CONTAINER_STOPPED
                if fault := self.accounts.found(shown(pod, container), container.id, self._prefix, ended=ended):
                    LOG.warning("found without its devices: %s", fault)
        if not more:
            self.accounts.keep(self._found)
            self._pods, self._found = {}, set()
        return ()

    def create_container(self, request: api.CreateContainerRequest) -> api.CreateContainerResponse | None:
        """Inject the devices that the container's annotations name, or refuse it.

        Raises Refused, whatever is the matter, a bug of ours too.
        """
        try:
            response = self._create(request)
        except Refusal as refusal:
            if self._stance.observe:
                LOG.warning("observed: would be refused: %s (%s)", refusal, refusal.reason)
                return None
            raise _refused(refusal) from refusal
        except Exception as error:  # noqa: BLE001  # whatever it is, it is answered, or the container would pass
            bug = self._internal(request.pod, request.container, error)
            if self._stance.observe:
                return None
            raise _refused(bug) from bug
        return None if self._stance.observe else response

    def state_change(self, event: Event, pod: api.PodSandbox, container: api.Container) -> None:
        """The start gate, which raises Refused as `create_container` does; a container that is removed leaves the accounts."""
        if event is Event.REMOVE_CONTAINER:
            self.accounts.removed(container.id, self._own(container))
        if event is not Event.START_CONTAINER or self._stance.observe:
            return
        try:
            self._start(pod, container)
        except Refusal as refusal:
            raise _refused(refusal) from refusal
        except Exception as error:  # noqa: BLE001  # as above
            bug = self._internal(pod, container, error)
            raise _refused(bug) from bug

    def overdue(self, event: Event, payload: bytes, *, state_change: bool) -> Refused | None:
        """The refusal of a container whose decision did not come in time. Does not raise, whatever the payload is."""
        if self._stance.observe or event is Event.REMOVE_CONTAINER:
            return None
        refusal = Refusal(
            Reason.OVERDUE,
            self._subject(payload, state_change=state_change),
            "nri-cdi did not come to a decision in time, a look at the host's files still hangs",
            "it is tried again; is a host path of its CDI devices on a dead network file system?",
        )
        return _refused(refusal)

    def check(self, names: Sequence[str]) -> str | None:
        """Why a container with these devices would be refused now, as far as can be told without it; None if it would not."""
        try:
            snapshot = self._settled(_NOBODY)
            resolve(tuple(names), snapshot, _NOBODY)
            for name in names:
                for node in resolve((name,), snapshot, _NOBODY).device_nodes:
                    try:
                        fill_from(self._host, node, _NOBODY)
                    except Refusal as refusal:
                        return f"{name}: {shortened(refusal.what, TEXT_MAX)}; {refusal.todo}"
        except Refusal as refusal:
            return f"{shortened(refusal.what, TEXT_MAX)}; {refusal.todo}"
        except Exception as error:
            LOG.exception("a bug of nri-cdi, please report it")
            return f"internal error: {type(error).__name__}: {error}"
        return None

    def _create(self, request: api.CreateContainerRequest) -> api.CreateContainerResponse | None:
        stance = self._stance
        if done_already(request, self._prefix):
            self.accounts.injected(
                subject_of(request.pod, request.container), request.container.id, self._own(request.container)
            )
            return None
        container = shown(request.pod, request.container)
        carried = keys(container, self._prefix, foreign_too=stance.foreign_keys, trust_pod=stance.trust_pod)
        if not carried.names:
            return None
        container = replace(container, subject=replace(container.subject, devices=carried.names))
        decision = decide(
            container, carried, self._settled(container.subject), self._host, self._runtime, stance.policy
        )
        if not stance.observe:
            self.accounts.injected(container.subject, request.container.id, self._own(request.container))
        if decision.is_empty:
            LOG.debug("%s has %s already", container.subject, ", ".join(decision.names))
            return None
        response = api.CreateContainerResponse(adjust=adjustment(decision, self._runtime))
        LOG.info(
            "%s %s into %s",
            "observed: would inject" if stance.observe else "injected",
            ", ".join(decision.names),
            container.subject,
        )
        return response

    def _start(self, pod: api.PodSandbox, container: api.Container) -> None:
        """Raises Refusal, where the start gate stands, for a container without what was promised; the accounts know of it in any case."""
        starting = shown(pod, container)
        if not self._stance.start_gate:
            if fault := self.accounts.found(starting, container.id, self._prefix):
                LOG.warning("starts without its devices: %s", fault)
            return
        try:
            check_start(starting, self._prefix)
        except Refusal:
            self.accounts.found(starting, container.id, self._prefix)
            raise
        self.accounts.injected(starting.subject, container.id, self._own(container))

    def _own(self, container: api.Container) -> dict[str, str]:
        """The allocations of a container by their key names, each with the names of its devices."""
        names = {key: own_key_name(key, self._prefix) for key in container.annotations}
        return {name: container.annotations[key] for key, name in names.items() if name is not None}

    def _settled(self, subject: Subject) -> Snapshot:
        snapshot = self._current(self._settling)
        if snapshot is None:
            raise Refusal(
                Reason.SPECS_UNSETTLED,
                subject,
                "CDI spec files on the node are changing at this moment and have not been read yet",
                "it is tried again",
            )
        return snapshot

    def _subject(self, payload: bytes, *, state_change: bool) -> Subject:
        """Which container a request is about: of a form of its own, or a StateChangeEvent."""
        form = api.StateChangeEvent if state_change else api.CreateContainerRequest
        try:
            message = form.FromString(payload)
        except DecodeError:
            return _NOBODY
        container = message.container
        return replace(subject_of(message.pod, container), devices=named(container.annotations, self._prefix))

    def _internal(self, pod: api.PodSandbox, container: api.Container, error: Exception) -> Refusal:
        LOG.error("a bug of nri-cdi, please report it", exc_info=error)
        devices = named(container.annotations, self._prefix)
        return Refusal(
            Reason.INTERNAL,
            replace(subject_of(pod, container), devices=devices),
            f"internal error: {type(error).__name__}: {error}",
            "please report it, with the log of nri-cdi",
        )


def _refused(refusal: Refusal) -> Refused:
    LOG.warning("%s (%s)", refusal, refusal.reason)
    return Refused(str(refusal))
