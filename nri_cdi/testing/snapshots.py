"""Snapshots of CDI specs that exist only in a test, without a file system."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nri_cdi.cdi import (
    ContainerEdits,
    Device,
    DeviceNode,
    DirectoryState,
    RejectedFile,
    Rule,
    Scan,
    Snapshot,
    Spec,
    SpecDirectory,
    SpecError,
    SpecFile,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def node(path: str) -> DeviceNode:
    """A character device 89:N for a path that ends in a number N, as a spec that gives all has it."""
    return DeviceNode(path, type="c", major=89, minor=int("".join(filter(str.isdigit, path)) or 0))


def spec_file(
    kind: str,
    devices: Mapping[str, ContainerEdits | Iterable[str]] | Iterable[str],
    path: str = "",
    *,
    common: Iterable[str] = (),
) -> SpecFile:
    """A valid spec file: devices by name with their edits or the paths of their nodes (see `node`); names alone have a variable each.

    `common` are paths of nodes that the file brings to all of them.
    """
    if not hasattr(devices, "items"):
        devices = {name: ContainerEdits(env=(f"DEVICE={name}",)) for name in devices}
    made = tuple(
        Device(
            name,
            edits
            if isinstance(edits, ContainerEdits)
            else ContainerEdits(env=(f"DEVICE={name}",), device_nodes=tuple(map(node, edits))),
        )
        for name, edits in devices.items()
    )
    spec = Spec("0.5.0", kind, made, ContainerEdits(device_nodes=tuple(map(node, common))))
    return SpecFile(path or f"/etc/cdi/{kind.replace('/', '-')}.yaml", 0, spec, ())


def snapshot(*files: SpecFile, rejected: Iterable[str] = ()) -> Snapshot:
    """The snapshot of these files of one directory, with some more at the paths `rejected` that are not valid."""
    bad = tuple(
        RejectedFile(path, 0, (SpecError(path, 1, 1, "", Rule.SYNTAX, None, "not YAML", "correct it"),))
        for path in rejected
    )
    return Snapshot.build(Scan((SpecDirectory("/etc/cdi", 0, DirectoryState.PRESENT, None),), (*files, *bad)))
