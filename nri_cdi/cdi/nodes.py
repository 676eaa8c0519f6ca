"""Device nodes filled from the host: what a spec leaves open is taken from the node it names.

Pure: the host is asked through `HostFacts`, and nothing is written back anywhere, so a node that changes is seen at the next request.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from nri_cdi.cdi.errors import CDIError, InjectionError

if TYPE_CHECKING:
    from nri_cdi.cdi.model import DeviceNode

FIFO: Final = "p"
TYPES: Final = ("b", "c", "u", FIFO)
"""The device node types of the specification: block, character, unbuffered character, FIFO."""


@dataclass(frozen=True, slots=True)
class HostNode:
    """A device node of the host: `type` is b, c or p; `mode` the permission bits with set-id and sticky (07777)."""

    type: str
    major: int
    minor: int
    mode: int


@dataclass
class HostNodeMissing(CDIError):
    """The host path cannot be looked at; `reason` is the operating system's word for it."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass
class NotADeviceNode(CDIError):
    """The host path is there and is something else (`found`: a directory, a regular file, a symbolic link...)."""

    path: str
    found: str

    def __str__(self) -> str:
        return f"{self.path}: not a device node but {self.found}"


class HostFacts(Protocol):
    """What injection asks of the host."""

    def device_node(self, path: str) -> HostNode:
        """The node at `path`, a symbolic link at its end not followed.

        Raises HostNodeMissing or NotADeviceNode.
        """
        ...


def fill(node: DeviceNode, facts: HostFacts) -> DeviceNode:
    """`node` with host path, type, numbers and file mode complete.

    A node that gives its type and its major number (or is a FIFO) is taken as written, even where the host has none or
    another: a driver may make it later. Only the file mode is looked up then. Owners are never taken from the host.
    Raises InjectionError if the host is needed and does not have the node, or has one of another type.
    """
    host_path = node.host_path or node.path
    complete = bool(node.type) and (node.major != 0 or node.type == FIFO)
    try:
        host = facts.device_node(host_path)
    except (HostNodeMissing, NotADeviceNode) as error:
        if complete:
            return replace(node, host_path=host_path)
        raise InjectionError(
            f'device node "{node.path}"',
            f'failed to stat CDI host device "{host_path}": {error}; create the device on the host, or give type and major in the spec',
        ) from error
    mode = host.mode if node.file_mode is None else node.file_mode
    if complete:
        return replace(node, host_path=host_path, file_mode=mode)
    if node.type and node.type != host.type:
        raise InjectionError(
            f'device node "{node.path}"',
            f'host type mismatch: the spec says {node.type}, "{host_path}" on the host is {host.type}; correct the type in the spec',
        )
    # Without a major number the host's pair counts, a minor that was given alone included; a FIFO has no numbers.
    numbers = (node.major, node.minor) if node.major or host.type == FIFO else (host.major, host.minor)
    return replace(node, host_path=host_path, type=host.type, major=numbers[0], minor=numbers[1], file_mode=mode)
