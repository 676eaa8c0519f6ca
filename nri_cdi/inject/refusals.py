"""Why a container is refused: every reason there is, and the text a person reads in the pod's event."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Reason(enum.StrEnum):
    """Every reason for which nri-cdi refuses a container. The values are stable: they are logged and counted."""

    MALFORMED_ANNOTATION = "malformed-annotation"
    """The value of a key is no list of qualified device names."""
    UNRESOLVABLE_DEVICE = "unresolvable-device"
    """A name that no valid spec file on the node defines, or several conflicting ones do."""
    DEVICE_NODE_MISSING = "device-node-missing"
    """A device node of the spec is not on the host (now)."""
    MOUNT_SOURCE_MISSING = "mount-source-missing"
    """The host path of a mount is not on the host (now)."""
    INEXPRESSIBLE = "inexpressible"
    """The spec asks for something that this runtime's NRI cannot do."""
    POLICY_DENIED = "policy-denied"
    """The operator's policy does not allow what its devices bring."""
    SMUGGLED_KEY = "smuggled-key"
    """An allocation key stands on the pod too: a person wrote it there, the kubelet did not."""
    GUARD_WITHOUT_KEY = "guard-without-key"
    """A guard is mounted whose allocation key did not arrive."""
    SPECS_UNSETTLED = "specs-unsettled"
    """Spec files are changing at this moment and are not read yet."""
    NOT_INJECTED = "not-injected"
    """At start: the container carries an allocation key and was created without us."""
    PROMISE_BROKEN = "promise-broken"
    """At start: something that was promised at creation is not in the container any more."""
    OVERDUE = "overdue"
    """The decision did not come in time, or one before it still hangs."""
    INTERNAL = "internal"
    """A bug of ours."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The container that a decision is about."""

    namespace: str
    pod: str
    container: str

    def __str__(self) -> str:
        return f'container "{self.container}" of pod "{self.namespace}/{self.pod}"'


@dataclass
class Refusal(Exception):
    """The container is refused. `what` says what is the matter, `todo` what to do about it."""

    reason: Reason
    subject: Subject
    what: str
    todo: str

    def __str__(self) -> str:
        return f"nri-cdi: {self.subject} refused: {self.what}; {self.todo}"
