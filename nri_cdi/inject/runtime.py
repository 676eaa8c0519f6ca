"""What a runtime's NRI can express, by its version. Seen on real runtimes; what is not known is taken as missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from nri_cdi.nri.versions import Version

if TYPE_CHECKING:
    from nri_cdi.nri import Runtime

_MOUNT_REMOVAL: Final = Version(0, 8, 0)
_DEVICE_RULES: Final = Version(0, 10, 0)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an adjustment can do here; `label` names the runtime for people."""

    label: str
    mount_removal: bool
    """A removal mark takes away a mount that the container came with; before, it is dropped silently."""
    device_rules: bool
    """`linux.resources.devices` is applied, behind the devices' own rules; before, it is dropped silently."""


def capabilities(runtime: Runtime) -> Capabilities:
    """The capabilities of the runtime that Configure described."""
    return Capabilities(
        label=f"{runtime.name} {runtime.version} (NRI {runtime.nri})",
        mount_removal=runtime.nri >= _MOUNT_REMOVAL,
        device_rules=runtime.nri >= _DEVICE_RULES,
    )


UNKNOWN: Final = Capabilities("a runtime that has not introduced itself", mount_removal=False, device_rules=False)
