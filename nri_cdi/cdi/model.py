"""A CDI spec as frozen values: the fields of the specification under Python names, absent values as the empty value.

What is optional with a meaning of its own when absent is None: `file_mode`, `uid`, `gid`, `timeout`, `intel_rdt`, `schemata`.
Nothing here checks anything (see `validate`), so a test may build what no file could say.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NO_ANNOTATIONS: Final[Mapping[str, str]] = MappingProxyType({})
"""The one empty mapping that every value without annotations shares."""


def _no_annotations() -> Mapping[str, str]:
    return NO_ANNOTATIONS


@dataclass(frozen=True, slots=True)
class DeviceNode:
    """A device node to create. Empty `host_path` means `path`; empty `type`, zero `major` are filled from the host."""

    path: str
    host_path: str = ""
    type: str = ""
    major: int = 0
    minor: int = 0
    file_mode: int | None = None
    permissions: str = ""
    uid: int | None = None
    gid: int | None = None


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount of `host_path` on `container_path`."""

    host_path: str
    container_path: str
    options: tuple[str, ...] = ()
    type: str = ""


@dataclass(frozen=True, slots=True)
class Hook:
    """An OCI hook; `hook_name` is the list it goes to, `timeout` in seconds."""

    hook_name: str
    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int | None = None


@dataclass(frozen=True, slots=True)
class IntelRdt:
    """Intel RDT parameters. `schemata` None (not there) and empty (there, with no entry) are different."""

    clos_id: str = ""
    l3_cache_schema: str = ""
    mem_bw_schema: str = ""
    schemata: tuple[str, ...] | None = None
    enable_monitoring: bool = False


@dataclass(frozen=True, slots=True)
class NetDevice:
    """A host network interface to move into the container under `name`."""

    host_interface_name: str
    name: str


@dataclass(frozen=True, slots=True)
class ContainerEdits:
    """What a container gets: of a spec, of a device, or of a whole request combined."""

    env: tuple[str, ...] = ()
    device_nodes: tuple[DeviceNode, ...] = ()
    hooks: tuple[Hook, ...] = ()
    mounts: tuple[Mount, ...] = ()
    intel_rdt: IntelRdt | None = None
    net_devices: tuple[NetDevice, ...] = ()
    additional_gids: tuple[int, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do. `intelRdt: {}` is something: it resets the container's RDT settings."""
        return self.intel_rdt is None and not (
            self.env or self.device_nodes or self.hooks or self.mounts or self.net_devices or self.additional_gids
        )


NO_EDITS: Final = ContainerEdits()
"""The one value that everything without edits shares."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device of a spec; `name` is the part behind the `=`."""

    name: str
    edits: ContainerEdits = NO_EDITS
    annotations: Mapping[str, str] = field(default_factory=_no_annotations, hash=False)


@dataclass(frozen=True, slots=True)
class Spec:
    """The content of a spec file; `version` as written (a leading `v` is allowed), `kind` is `vendor/class`.

    `devices` is a tuple, or a sequence that decodes them as they are asked for.
    """

    version: str
    kind: str
    devices: Sequence[Device] = ()
    edits: ContainerEdits = NO_EDITS
    annotations: Mapping[str, str] = field(default_factory=_no_annotations, hash=False)

    @property
    def vendor(self) -> str:
        """The vendor of the kind; empty if the kind is not `vendor/class`."""
        return self._parts[0]

    @property
    def cls(self) -> str:
        """The class of the kind; empty if the kind is not `vendor/class`."""
        return self._parts[1]

    @property
    def _parts(self) -> tuple[str, str]:
        vendor, slash, cls = self.kind.partition("/")
        return (vendor, cls) if slash and vendor and cls else ("", self.kind)
