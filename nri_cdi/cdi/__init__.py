"""The Container Device Interface for Python: names, specs, annotations, snapshots and injection.

A library on its own: it imports nothing else of nri_cdi. What it reads and means is what the reference implementation
reads and means; docs/cdi.md lists the differences.

    from nri_cdi.cdi import LocalHost, Snapshot, inject, scan_directories

    snapshot = Snapshot.build(scan_directories(["/etc/cdi", "/var/run/cdi"]))
    edits = snapshot.resolve(["vendor.com/gpu=0"])       # raises UnresolvedDevices, which says why
    oci = inject(oci, edits, LocalHost())                # a new OCI spec; the old one is untouched

docs/cdi-library.md has more examples. `scan_directories` and `load_spec` parse YAML and load PyYAML when they are first called; everything else is pure and light.
"""

from collections.abc import Sequence

from nri_cdi.cdi import annotations, plain
from nri_cdi.cdi.edits import combine
from nri_cdi.cdi.errors import (
    AnnotationError,
    CDIError,
    InjectionError,
    InvalidName,
    InvalidSpec,
    Rule,
    SpecError,
    Unresolved,
    UnresolvedDevices,
    Why,
)
from nri_cdi.cdi.files import DEFAULT_DIRECTORIES, DirectoryState, RejectedFile, Scan, SpecDirectory, SpecFile
from nri_cdi.cdi.host import LocalHost
from nri_cdi.cdi.model import ContainerEdits, Device, DeviceNode, Hook, IntelRdt, Mount, NetDevice, Spec
from nri_cdi.cdi.names import QualifiedName, is_qualified, parse_qualified_name
from nri_cdi.cdi.nodes import HostFacts, HostNode, HostNodeMissing, NotADeviceNode, fill
from nri_cdi.cdi.oci import inject
from nri_cdi.cdi.snapshot import EMPTY, DeviceEntry, Snapshot
from nri_cdi.cdi.validate import validate
from nri_cdi.cdi.versions import minimum_version

__all__ = [
    "DEFAULT_DIRECTORIES",
    "EMPTY",
    "AnnotationError",
    "CDIError",
    "ContainerEdits",
    "Device",
    "DeviceEntry",
    "DeviceNode",
    "DirectoryState",
    "Hook",
    "HostFacts",
    "HostNode",
    "HostNodeMissing",
    "InjectionError",
    "IntelRdt",
    "InvalidName",
    "InvalidSpec",
    "LocalHost",
    "Mount",
    "NetDevice",
    "NotADeviceNode",
    "QualifiedName",
    "RejectedFile",
    "Rule",
    "Scan",
    "Snapshot",
    "Spec",
    "SpecDirectory",
    "SpecError",
    "SpecFile",
    "Unresolved",
    "UnresolvedDevices",
    "Why",
    "annotations",
    "combine",
    "fill",
    "inject",
    "is_qualified",
    "load_spec",
    "minimum_version",
    "parse_qualified_name",
    "plain",
    "remove_spec",
    "scan_directories",
    "spec_file_name",
    "spec_text",
    "validate",
    "write_spec",
]


def scan_directories(directories: Sequence[str] = DEFAULT_DIRECTORIES) -> Scan:
    """Read the spec files of these directories; the later has priority. Never raises for what it finds there."""
    from nri_cdi.cdi import scan  # noqa: PLC0415 - the serving process imports this package and must not load YAML

    return scan.scan_directories(directories)


def write_spec(spec: Spec, name: str, directories: Sequence[str] = DEFAULT_DIRECTORIES) -> str:
    """Write a spec file into the last of these directories, whole or not at all; returns its path. Raises InvalidSpec, OSError.

    `spec_file_name` makes the usual name.
    """
    from nri_cdi.cdi import write  # noqa: PLC0415 - the serving process writes none

    return write.write_spec(spec, name, directories)


def remove_spec(name: str, directories: Sequence[str] = DEFAULT_DIRECTORIES) -> None:
    """Remove what `write_spec` wrote under this name, if it is there. Raises OSError."""
    from nri_cdi.cdi import write  # noqa: PLC0415 - as above

    write.remove_spec(name, directories)


def spec_file_name(kind: str, transient_id: str = "") -> str:
    """The usual name of a spec file: `vendor-class`, and behind it `_id` for devices that live as long as something else with that id.

    Raises InvalidName.
    """
    from nri_cdi.cdi import write  # noqa: PLC0415 - as above

    return write.spec_file_name(kind, transient_id)


def spec_text(spec: Spec, extension: str = ".yaml") -> str:
    """The content of a spec file with this extension (`.yaml` or `.json`)."""
    from nri_cdi.cdi import write  # noqa: PLC0415 - as above

    return write.spec_text(spec, extension)


def load_spec(data: bytes, path: str = "-") -> Spec:
    """The spec in the content of a spec file (YAML or JSON). `path` is for error texts. Raises InvalidSpec."""
    from nri_cdi.cdi import load  # noqa: PLC0415 - as above

    return load.load_spec(data, path).spec
