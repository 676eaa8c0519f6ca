"""Why a container is refused: every reason there is, and the text a person reads in the pod's event."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

TEXT_MAX: Final = 480
"""Characters of a refusal's `what`: an event shows 1 KiB, of which the runtime and the kubelet take their part."""

_DEVICES_SHOWN: Final = 2
_NAME_MAX: Final = 80


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
    UNKNOWN_FORMAT = "unknown-format"
    """An allocation key or a guard of a version that this release does not know: a newer release wrote it."""
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
    """The container that a decision is about, and the CDI devices that its keys name, as far as they are known."""

    namespace: str
    pod: str
    container: str
    devices: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f'container "{self.container}" of pod "{self.namespace}/{self.pod}"'


@dataclass
class Refusal(Exception):
    """The container is refused. `what` says what is the matter, `todo` what to do about it.

    The text names the devices, unless `what` does, and stays under 1 KiB: what is too long loses its middle.
    """

    reason: Reason
    subject: Subject
    what: str
    todo: str

    def __str__(self) -> str:
        devices = "" if any(name in self.what for name in self.subject.devices) else _with(self.subject.devices)
        return f"nri-cdi: {self.subject}{devices} refused: {shortened(self.what, TEXT_MAX)}; {self.todo}"


def shortened(text: str, most: int) -> str:
    """The text in one line of at most `most` characters, the middle of a longer one left out."""
    line = " ".join(text.split()) if len(text) <= most else f"{text[: most // 2]} ... {text[-(most // 2 - 5) :]}"
    return "".join(character if character.isprintable() else " " for character in line)


def _with(devices: tuple[str, ...]) -> str:
    if not devices:
        return ""
    more = f" and {len(devices) - _DEVICES_SHOWN} more" if len(devices) > _DEVICES_SHOWN else ""
    return f" with {', '.join(shortened(name, _NAME_MAX) for name in devices[:_DEVICES_SHOWN])}{more}"
