"""What the resolved edits promise a container, merged: one node for a path, one mount for a destination, one value for a variable. Pure.

A reply that names one thing twice is a conflict with itself and fails the creation, so what the edits say twice is merged
first; as in CDI the last one wins. Hooks are never merged: each of them runs.

The device cgroup knows numbers, not paths. Where two nodes have the same numbers the container may do with both what it may do with one of them,
as with CDI, whose rules only ever add; so that is what is promised for both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from nri_cdi.cdi.paths import clean

from .request import Hook, Mount, Node

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nri_cdi.cdi import ContainerEdits, DeviceNode

READ_WRITE: Final = frozenset("rw")


@dataclass(frozen=True, slots=True)
class PromisedNode:
    """A device node and what the device cgroup is to allow for it, of `r` and `w`.

    `m` (making nodes) is not counted: runc allows it to every container for every number.
    """

    node: Node
    access: frozenset[str]


@dataclass(frozen=True, slots=True)
class Promise:
    """The merged edits: nodes by path, mounts by destination, variables by name, hooks in order."""

    nodes: Mapping[str, PromisedNode]
    mounts: Mapping[str, Mount]
    env: Mapping[str, str]
    hooks: tuple[Hook, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it."""
        return not (self.nodes or self.mounts or self.env or self.hooks)


def promise(edits: ContainerEdits, filled: tuple[DeviceNode, ...], uid: int, gid: int) -> Promise:
    """The promise of `edits`, whose device nodes are `filled` from the host.

    As in CDI, a node without an owner is given to the container's process when that is not root (uid, gid 0: root or unknown).
    Destinations that differ in their spelling only are one.
    """
    nodes: dict[str, PromisedNode] = {}
    for device in filled:
        nodes.pop(device.path, None)
        node = Node(
            device.path,
            device.type,
            device.major,
            device.minor,
            device.file_mode,
            device.uid if device.uid is not None else uid or None,
            device.gid if device.gid is not None else gid or None,
        )
        nodes[device.path] = PromisedNode(node, _access(device.permissions))
    places: dict[str, Mount] = {}
    for mount in edits.mounts:
        places.pop(clean(mount.container_path), None)
        places[clean(mount.container_path)] = Mount(mount.container_path, mount.host_path, mount.type, mount.options)
    env = {name: value for name, _, value in (entry.partition("=") for entry in edits.env)}
    hooks = tuple(Hook(h.hook_name, h.path, h.args, h.env, h.timeout) for h in edits.hooks)
    return Promise(_joined(nodes), {mount.destination: mount for mount in places.values()}, env, hooks)


def _joined(nodes: Mapping[str, PromisedNode]) -> dict[str, PromisedNode]:
    """The nodes, each with the access of all that have its numbers."""
    allowed: dict[tuple[str, int, int], frozenset[str]] = {}
    for item in nodes.values():
        numbers = (item.node.type, item.node.major, item.node.minor)
        allowed[numbers] = allowed.get(numbers, frozenset()) | item.access
    return {
        path: replace(item, access=allowed[item.node.type, item.node.major, item.node.minor])
        for path, item in nodes.items()
    }


def _access(permissions: str) -> frozenset[str]:
    """What CDI's `permissions` allow, of `r` and `w`: absent means all, `none` nothing."""
    if permissions == "none":
        return frozenset()
    return READ_WRITE & frozenset(permissions) if permissions else READ_WRITE
