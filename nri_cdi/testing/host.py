"""A host of device nodes that exists only in a test: `HostFacts` without a file system and without root."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nri_cdi.cdi import HostNode, HostNodeMissing, NotADeviceNode

if TYPE_CHECKING:
    from collections.abc import Mapping

NULL = HostNode("c", 1, 3, 0o666)
"""What `/dev/null` is on every Linux."""


class FakeHost:
    """Answers from a mapping of paths: a node, or the name of what is there instead of one ("a directory").

    `asked` records the paths in order, so that a test can say what was looked up.
    """

    def __init__(self, nodes: Mapping[str, HostNode | str] | None = None) -> None:
        self.nodes = dict(nodes if nodes is not None else {"/dev/null": NULL})
        self.asked: list[str] = []

    def device_node(self, path: str) -> HostNode:
        """The node; raises HostNodeMissing or NotADeviceNode as the real host does."""
        self.asked.append(path)
        found = self.nodes.get(path)
        if found is None:
            raise HostNodeMissing(path, "no such file or directory")
        if isinstance(found, str):
            raise NotADeviceNode(path, found)
        return found
