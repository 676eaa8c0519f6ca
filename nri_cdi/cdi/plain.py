"""A scan as JSON bytes and back: what the parsing child hands to the serving process, which never reads YAML.

Specs are encoded under the field names of the specification, with absent fields left out. `decode(encode(scan)) == scan`.
"""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from nri_cdi.cdi.errors import Rule, SpecError
from nri_cdi.cdi.files import DirectoryState, RejectedFile, Scan, SpecDirectory, SpecFile
from nri_cdi.cdi.model import (
    NO_ANNOTATIONS,
    NO_EDITS,
    ContainerEdits,
    Device,
    DeviceNode,
    Hook,
    IntelRdt,
    Mount,
    NetDevice,
    Spec,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

Plain = dict[str, Any]  # JSON objects: their values are of every type, and mypy has no better name for that

FORMAT: Final = 1
"""The number of this encoding. Both ends are of one release, so another number is a broken installation."""


def encode(scan: Scan) -> bytes:
    """The scan as JSON (ASCII: paths that are not UTF-8 survive)."""
    document = {
        "format": FORMAT,
        "directories": [
            [directory.path, directory.priority, directory.state.value, _error(directory.error)]
            for directory in scan.directories
        ],
        "files": [
            {
                "path": file.path,
                "priority": file.priority,
                "spec": spec_to_plain(file.spec),
                "warnings": [_error(e) for e in file.warnings],
            }
            if isinstance(file, SpecFile)
            else {
                "path": file.path,
                "priority": file.priority,
                "kind": file.kind,
                "errors": [_error(e) for e in file.errors],
            }
            for file in scan.files
        ],
    }
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def decode(data: bytes) -> Scan:
    """The scan of what `encode` wrote. Raises ValueError for anything else."""
    try:
        document = json.loads(data)
        if document["format"] != FORMAT:
            raise ValueError(
                f"scan format {document['format']!r}, expected {FORMAT}: the two processes are of different releases"
            )
        return Scan(
            tuple(
                SpecDirectory(path, priority, DirectoryState(state), _error_from(error))
                for path, priority, state, error in document["directories"]
            ),
            tuple(map(_file_from, document["files"])),
        )
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not an encoded scan: {error!r}") from error


def spec_to_plain(spec: Spec) -> Plain:
    """The spec as JSON data: the content of a spec file that says the same."""
    plain: Plain = {"cdiVersion": spec.version, "kind": spec.kind}
    if spec.annotations:
        plain["annotations"] = dict(spec.annotations)
    plain["devices"] = [_device(device) for device in spec.devices]
    if not spec.edits.is_empty:
        plain["containerEdits"] = edits_to_plain(spec.edits)
    return plain


def edits_to_plain(edits: ContainerEdits) -> Plain:
    """Container edits as JSON data, under the field names of the specification."""
    plain: Plain = {}
    if edits.env:
        plain["env"] = list(edits.env)
    if edits.device_nodes:
        plain["deviceNodes"] = [_device_node(node) for node in edits.device_nodes]
    if edits.net_devices:
        plain["netDevices"] = [
            {"hostInterfaceName": net.host_interface_name, "name": net.name} for net in edits.net_devices
        ]
    if edits.hooks:
        plain["hooks"] = [_hook(hook) for hook in edits.hooks]
    if edits.mounts:
        plain["mounts"] = [_mount(mount) for mount in edits.mounts]
    if edits.intel_rdt is not None:
        plain["intelRdt"] = intel_rdt_to_plain(edits.intel_rdt)
    if edits.additional_gids:
        plain["additionalGids"] = list(edits.additional_gids)
    return plain


def intel_rdt_to_plain(rdt: IntelRdt) -> Plain:
    """RDT parameters as JSON data; CDI and OCI use the same names."""
    plain: Plain = {}
    if rdt.clos_id:
        plain["closID"] = rdt.clos_id
    if rdt.l3_cache_schema:
        plain["l3CacheSchema"] = rdt.l3_cache_schema
    if rdt.mem_bw_schema:
        plain["memBwSchema"] = rdt.mem_bw_schema
    if rdt.schemata is not None:
        plain["schemata"] = list(rdt.schemata)
    if rdt.enable_monitoring:
        plain["enableMonitoring"] = True
    return plain


def _device(device: Device) -> Plain:
    plain: Plain = {"name": device.name}
    if device.annotations:
        plain["annotations"] = dict(device.annotations)
    plain["containerEdits"] = edits_to_plain(device.edits)
    return plain


def _device_node(node: DeviceNode) -> Plain:
    plain: Plain = {"path": node.path}
    if node.host_path:
        plain["hostPath"] = node.host_path
    if node.type:
        plain["type"] = node.type
    if node.major:
        plain["major"] = node.major
    if node.minor:
        plain["minor"] = node.minor
    if node.file_mode is not None:
        plain["fileMode"] = node.file_mode
    if node.permissions:
        plain["permissions"] = node.permissions
    if node.uid is not None:
        plain["uid"] = node.uid
    if node.gid is not None:
        plain["gid"] = node.gid
    return plain


def _mount(mount: Mount) -> Plain:
    plain: Plain = {"hostPath": mount.host_path, "containerPath": mount.container_path}
    if mount.options:
        plain["options"] = list(mount.options)
    if mount.type:
        plain["type"] = mount.type
    return plain


def _hook(hook: Hook) -> Plain:
    plain: Plain = {"hookName": hook.hook_name, "path": hook.path}
    if hook.args:
        plain["args"] = list(hook.args)
    if hook.env:
        plain["env"] = list(hook.env)
    if hook.timeout is not None:
        plain["timeout"] = hook.timeout
    return plain


def _error(error: SpecError | None) -> list[object] | None:
    if error is None:
        return None
    rule, value = error.rule.value, error.value
    return [error.path, error.line, error.column, error.json_path, rule, value, error.message, error.hint]


def _error_from(plain: list[Any] | None) -> SpecError | None:
    return None if plain is None else _fault_from(plain)


def _fault_from(plain: list[Any]) -> SpecError:
    path, line, column, json_path, rule, value, message, hint = plain
    return SpecError(path, line, column, json_path, Rule(rule), value, message, hint)


def _file_from(plain: Plain) -> SpecFile | RejectedFile:
    if "spec" in plain:
        return SpecFile(
            plain["path"], plain["priority"], spec_from_plain(plain["spec"]), tuple(map(_fault_from, plain["warnings"]))
        )
    return RejectedFile(plain["path"], plain["priority"], tuple(map(_fault_from, plain["errors"])), plain["kind"])


def spec_from_plain(plain: Plain) -> Spec:
    """The spec of what `spec_to_plain` made; not a parser of spec files (that is `load_spec`)."""
    return Spec(
        plain["cdiVersion"],
        plain["kind"],
        tuple(map(_device_from, plain["devices"])),
        _edits_from(plain["containerEdits"]) if "containerEdits" in plain else NO_EDITS,
        _annotations_from(plain),
    )


def _device_from(plain: Plain) -> Device:
    return Device(plain["name"], _edits_from(plain["containerEdits"]), _annotations_from(plain))


def _annotations_from(plain: Plain) -> Mapping[str, str]:
    annotations = plain.get("annotations")
    return NO_ANNOTATIONS if annotations is None else MappingProxyType(annotations)


def _edits_from(plain: Plain) -> ContainerEdits:
    get = plain.get
    rdt = get("intelRdt")
    return ContainerEdits(
        tuple(get("env", ())),
        tuple(map(_device_node_from, get("deviceNodes", ()))),
        tuple([_hook_from(hook) for hook in get("hooks", ())]),
        tuple(
            [
                Mount(m["hostPath"], m["containerPath"], tuple(m.get("options", ())), m.get("type", ""))
                for m in get("mounts", ())
            ]
        ),
        None if rdt is None else _intel_rdt_from(rdt),
        tuple([NetDevice(net["hostInterfaceName"], net["name"]) for net in get("netDevices", ())]),
        tuple(get("additionalGids", ())),
    )


def _device_node_from(plain: Plain) -> DeviceNode:
    get = plain.get
    return DeviceNode(
        plain["path"],
        get("hostPath", ""),
        get("type", ""),
        get("major", 0),
        get("minor", 0),
        get("fileMode"),
        get("permissions", ""),
        get("uid"),
        get("gid"),
    )


def _hook_from(plain: Plain) -> Hook:
    return Hook(
        plain["hookName"],
        plain["path"],
        tuple(plain.get("args", ())),
        tuple(plain.get("env", ())),
        plain.get("timeout"),
    )


def _intel_rdt_from(plain: Plain) -> IntelRdt:
    schemata = plain.get("schemata")
    return IntelRdt(
        plain.get("closID", ""),
        plain.get("l3CacheSchema", ""),
        plain.get("memBwSchema", ""),
        None if schemata is None else tuple(schemata),
        plain.get("enableMonitoring", False),
    )
