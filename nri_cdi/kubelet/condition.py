"""The condition of a device: do its nodes exist on the host, with the right type? The judgement is pure; `look` asks the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from nri_cdi.cdi import HostNode, HostNodeMissing, InjectionError, NotADeviceNode, fill
from nri_cdi.host.root import Presence
from nri_cdi.kubelet.candidates import host_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nri_cdi.cdi import DeviceNode
    from nri_cdi.kubelet.candidates import Candidate

_ON_THE_HOST: Final = {"u": "c"}
"""A node type of the specification under the name that the host has for it."""

_NAMES: Final = {"b": "a block device", "c": "a character device", "p": "a FIFO"}


class Host(Protocol):
    """What is asked of `nri_cdi.host.root.HostRoot`."""

    def device_node(self, path: str) -> HostNode:
        """The node at `path`. Raises HostNodeMissing or NotADeviceNode."""

    def presence(self, path: str) -> Presence:
        """Whether `path` leads to something, links followed."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen at a path of the host: a node; or what is wrong there; `link` if it is a symbolic link that leads somewhere.

    All empty: the place cannot be seen from here, which says nothing about the device.
    """

    node: HostNode | None = None
    problem: str = ""
    link: bool = False


def look(host: Host, path: str) -> Look:
    """What is at `path` on the host now."""
    try:
        return Look(host.device_node(path))
    except HostNodeMissing as error:
        if host.presence(path) is Presence.NOT_VISIBLE:
            return Look()
        return Look(problem=f"is not there ({error.reason})")
    except NotADeviceNode as error:
        link = error.found == "a symbolic link" and host.presence(path) is Presence.PRESENT
        return Look(problem=f"is not a device node but {error.found}", link=link)


class _Seen:
    """Looks as the facts that `fill` asks for."""

    def __init__(self, looks: Mapping[str, Look]) -> None:
        self._looks = looks

    def device_node(self, path: str) -> HostNode:
        """The node that was seen at `path`. Raises HostNodeMissing."""
        seen = self._looks[path]
        if seen.node is None:
            raise HostNodeMissing(path, seen.problem)
        return seen.node


def problem(candidate: Candidate, looks: Mapping[str, Look]) -> str:
    """Why a container cannot have the device now; empty if it can. `looks` has the host path of each of its nodes.

    Stricter than injection, which takes a node with type and numbers as the spec has it, wherever the host is: a device that
    is not there is not to be handed out.
    """
    facts = _Seen(looks)
    for node in (*candidate.common, *candidate.nodes):
        if said := _node_problem(node, looks[host_path(node)], facts):
            return said
    return ""


def _node_problem(node: DeviceNode, seen: Look, facts: _Seen) -> str:
    path = host_path(node)
    if seen.node is None:
        unseen = not seen.problem
        as_written = seen.link and node.type and node.major  # the link's target is not asked then
        return "" if unseen or as_written else f"{path} {seen.problem}"
    expected = _ON_THE_HOST.get(node.type, node.type)
    if expected and expected != seen.node.type:
        return f"{path} is {_NAMES[seen.node.type]} on the host, the spec says {node.type}"
    try:
        fill(node, facts)
    except InjectionError as error:
        return str(error)
    return ""
