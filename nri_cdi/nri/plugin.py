"""The base class of an NRI plugin: override the events you want, and name them in `events`.

    class Labels(Plugin):
        events = frozenset({Event.CREATE_CONTAINER})

        def create_container(self, request):
            return api.CreateContainerResponse(adjust=api.ContainerAdjustment(annotations={"seen.example.com/by": "labels"}))

The shell (`nri_cdi.nri.shell`) calls the methods one at a time, as the runtime does; only when a method has not come back in time do
`concerns`, `overdue`, and after a new connection `configure` and `synchronize`, run beside it. Whatever a method raises is answered as
an error, and an answered error to CreateContainer or StartContainer is the one thing that keeps a container from starting:
raise `Refused` with a sentence for the person who will read it in the pod's event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nri_cdi.ttrpc import Code

if TYPE_CHECKING:
    from collections.abc import Sequence

    from . import api
    from .events import Event
    from .session import Runtime


_ERRORS: Final = frozenset(Code) - {Code.OK}


class Refused(Exception):
    """The request is answered with this error; the text reaches the pod's event as it is.

    `code` is a gRPC code other than OK. Raises ValueError for another number: an error that cannot be sent would let the container pass.
    """

    def __init__(self, message: str, code: int = Code.FAILED_PRECONDITION) -> None:
        if code not in _ERRORS:
            raise ValueError(f"{code} is no gRPC code of an error")
        super().__init__(message)
        self.message, self.code = str(message), code


class Plugin:
    """See the module. A method that is not overridden does nothing."""

    events: frozenset[Event] = frozenset()
    """The events to subscribe. Those a runtime does not know are left out there."""

    def concerns(self, event: Event, payload: bytes, *, state_change: bool) -> bool:  # noqa: ARG002  # for subclasses
        """Whether an event is any business of this plugin, seen from its encoded request.

        It must be quick: what does not concern the plugin is answered at once, also while a handler hangs. If it raises, the request is
        refused. `payload` is an encoded StateChangeEvent if `state_change`, else the event's own request.
        """
        return True

    def configure(self, runtime: Runtime) -> None:
        """The runtime introduced itself. If this raises, the runner connects again, with pauses, until it does not."""

    def synchronize(
        self,
        pods: Sequence[api.PodSandbox],  # noqa: ARG002  # for subclasses
        containers: Sequence[api.Container],  # noqa: ARG002
        *,
        more: bool,  # noqa: ARG002
    ) -> Sequence[api.ContainerUpdate]:
        """A part of what the runtime runs already; `more` parts follow. Updates are taken with the last part only.

        Answer at once and work later: a late answer costs the connection, and so does an exception.
        """
        return ()

    def create_container(self, request: api.CreateContainerRequest) -> api.CreateContainerResponse | None:
        """A container is being created: adjust it, or raise Refused."""

    def update_container(self, request: api.UpdateContainerRequest) -> api.UpdateContainerResponse | None:
        """A container's resources are being updated."""

    def stop_container(self, request: api.StopContainerRequest) -> api.StopContainerResponse | None:
        """A container is being stopped."""

    def validate_container_adjustment(
        self, request: api.ValidateContainerAdjustmentRequest
    ) -> api.ValidateContainerAdjustmentResponse | None:
        """All plugins have adjusted the container: look at the result, reject it or not."""

    def update_pod_sandbox(self, request: api.UpdatePodSandboxRequest) -> None:
        """A pod's resources are being updated."""

    def state_change(self, event: Event, pod: api.PodSandbox, container: api.Container) -> None:
        """Every other event (START_CONTAINER and so on), whichever form it came in. `container` is empty for a pod's events."""

    def overdue(self, event: Event, payload: bytes, *, state_change: bool) -> Refused | None:  # noqa: ARG002  # for subclasses
        """What to answer for a request whose handler did not come back in time, or that had to be refused behind such a one.

        None: an empty success. It must not wait for what the handler waits for.
        """
        return Refused("the plugin did not decide in time", Code.DEADLINE_EXCEEDED)
