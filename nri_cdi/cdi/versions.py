"""CDI versions: which there are, and which a spec needs for the features it uses.

The two oldest checks (mount `type`, device node `hostPath`) are made by the reference implementation for the spec's own edits and
for its last device only, so a spec that breaks them elsewhere is in use and loads everywhere. It loads here too, with a warning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nri_cdi.cdi.model import ContainerEdits, Spec

VERSIONS: Final = ("0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0")
"""All versions of the specification, oldest first."""

EARLIEST: Final = "0.3.0"
"""No spec needs less, so a spec that declares an older version (which exists) is refused all the same."""

Place = tuple[str | int, ...]
"""Where something stands in a spec: field names and list indices from the top."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """A feature in use: the version it needs, where it stands, and what it is. `enforced` is False for the uncounted devices."""

    version: str
    place: Place
    feature: str
    enforced: bool = True


def parse_version(text: str) -> str | None:
    """The version, without an optional leading `v`; None if there is no such version."""
    version = text.removeprefix("v")
    return version if version in VERSIONS else None


def index(version: str) -> int:
    """The place of a version in `VERSIONS`; raises ValueError if there is no such version."""
    return VERSIONS.index(version)


def minimum_version(spec: Spec) -> str:
    """The least version that a spec with these features may declare."""
    return max((need.version for need in requirements(spec) if need.enforced), key=index, default=EARLIEST)


def requirements(spec: Spec) -> Iterator[Requirement]:
    """All features in use that need more than the earliest version."""
    if spec.annotations:
        yield Requirement("0.6.0", ("annotations",), "annotations")
    if "." in spec.kind.partition("/")[2]:
        yield Requirement("0.6.0", ("kind",), "a dot in the class")
    yield from _edits(spec.edits, ("containerEdits",), counted=True)
    last = len(spec.devices) - 1
    for number, device in enumerate(spec.devices):
        place = ("devices", number)
        if device.name[:1].isascii() and device.name[:1].isdigit():
            yield Requirement("0.5.0", (*place, "name"), "a device name that starts with a digit")
        if device.annotations:
            yield Requirement("0.6.0", (*place, "annotations"), "annotations")
        yield from _edits(device.edits, (*place, "containerEdits"), counted=number == last)


def _edits(edits: ContainerEdits, place: Place, *, counted: bool) -> Iterator[Requirement]:
    for number, mount in enumerate(edits.mounts):
        if mount.type:
            yield Requirement("0.4.0", (*place, "mounts", number, "type"), "a mount type", counted)
    for number, node in enumerate(edits.device_nodes):
        if node.host_path:
            yield Requirement("0.5.0", (*place, "deviceNodes", number, "hostPath"), "hostPath", counted)
    if edits.intel_rdt is not None:
        yield Requirement("0.7.0", (*place, "intelRdt"), "intelRdt")
        if edits.intel_rdt.schemata is not None:
            yield Requirement("1.1.0", (*place, "intelRdt", "schemata"), "schemata")
        if edits.intel_rdt.enable_monitoring:
            yield Requirement("1.1.0", (*place, "intelRdt", "enableMonitoring"), "enableMonitoring")
    if edits.additional_gids:
        yield Requirement("0.7.0", (*place, "additionalGids"), "additionalGids")
    if edits.net_devices:
        yield Requirement("1.1.0", (*place, "netDevices"), "netDevices")
