"""Specs as JSON data and back: under the field names of the specification, in its order, absent fields left out."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

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


def spec_to_plain(spec: Spec) -> Plain:
    """The spec as JSON data: the content of a spec file that says the same."""
    plain: Plain = {"cdiVersion": spec.version, "kind": spec.kind}
    if spec.annotations:
        plain["annotations"] = dict(spec.annotations)
    plain["devices"] = [device_to_plain(device) for device in spec.devices]
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


def device_to_plain(device: Device) -> Plain:
    """A device as JSON data."""
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


def spec_from_plain(plain: Plain) -> Spec:
    """The spec of what `spec_to_plain` made; not a parser of spec files (that is `load_spec`)."""
    return Spec(
        plain["cdiVersion"],
        plain["kind"],
        tuple(map(device_from_plain, plain["devices"])),
        _edits_from(plain["containerEdits"]) if "containerEdits" in plain else NO_EDITS,
        _annotations_from(plain),
    )


def device_from_plain(plain: Plain) -> Device:
    """The device of what `device_to_plain` made."""
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
