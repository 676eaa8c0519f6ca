"""The device nodes of the host this process sees, for the command line and for library users."""

from __future__ import annotations

import os
import stat

from nri_cdi.cdi.nodes import HostNode, HostNodeMissing, NotADeviceNode

_TYPES = {stat.S_IFBLK: "b", stat.S_IFCHR: "c", stat.S_IFIFO: "p"}
_OTHERS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFREG: "a regular file",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFSOCK: "a socket",
}


class LocalHost:
    """`HostFacts` by `lstat`, afresh for each question."""

    def device_node(self, path: str) -> HostNode:
        """The node at `path`; raises HostNodeMissing or NotADeviceNode."""
        try:
            status = os.lstat(path)
        except (OSError, ValueError) as error:
            reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
            raise HostNodeMissing(path, reason.lower()) from error
        kind = stat.S_IFMT(status.st_mode)
        if kind not in _TYPES:
            raise NotADeviceNode(path, _OTHERS.get(kind, "something else"))
        return HostNode(_TYPES[kind], os.major(status.st_rdev), os.minor(status.st_rdev), stat.S_IMODE(status.st_mode))
