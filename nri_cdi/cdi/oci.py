"""Container edits applied to an OCI runtime spec, given and returned as JSON data.

`inject` is atomic and never changes its input: it edits a copy, and what fails leaves nothing behind but the error. Sections
are applied in the reference implementation's order: env, device nodes, network devices, mounts, hooks, RDT, group ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from nri_cdi.cdi.errors import InjectionError
from nri_cdi.cdi.nodes import HostFacts, fill
from nri_cdi.cdi.paths import clean
from nri_cdi.cdi.plain import intel_rdt_to_plain
from nri_cdi.cdi.validate import HOOK_NAMES, NO_PERMISSIONS

if TYPE_CHECKING:
    from nri_cdi.cdi.model import ContainerEdits, DeviceNode, Hook, Mount

Json = dict[str, Any]  # an OCI spec is open: runtimes add fields, and we keep what we do not know

_ALL_ACCESS: Final = "rwm"
_MAPPED: Final = ("idmap", "ridmap")


def inject(oci: Mapping[str, Any], edits: ContainerEdits, facts: HostFacts) -> Json:
    """A new OCI spec with the edits applied.

    Raises InjectionError if a device node cannot be filled from the host, if the edits name a hook that OCI does not have, or
    if a field of the OCI spec that is to be edited is not of its type.
    """
    spec: Json = _copied(dict(oci))
    if edits.env:
        process = _process(spec)
        process["env"] = _merged_env(_list(process, "env", "process"), edits.env)
    for node in edits.device_nodes:
        _add_device(spec, fill(node, facts), node.permissions)
    if edits.net_devices:
        table = _object(_object(spec, "linux"), "netDevices", "linux")
        for device in edits.net_devices:
            table[device.host_interface_name] = {"name": device.name}
    if edits.mounts:
        spec["mounts"] = _merged_mounts(_list(spec, "mounts"), edits.mounts, idmap=_has_user_namespace(spec))
    for hook in edits.hooks:
        if hook.hook_name not in HOOK_NAMES:
            raise InjectionError(f'hook "{hook.path}"', f'OCI has no hook "{hook.hook_name}"')
        _list(_object(spec, "hooks"), hook.hook_name, "hooks").append(_oci_hook(hook))
    if edits.intel_rdt is not None:
        # An empty list of schemata is left out by OCI's JSON, as an absent one is.
        _object(spec, "linux")["intelRdt"] = {k: v for k, v in intel_rdt_to_plain(edits.intel_rdt).items() if v != []}
    gids = [gid for gid in edits.additional_gids if gid]
    if gids:
        user = _object(_process(spec), "user", "process")
        present = _list(user, "additionalGids", "process.user")
        present.extend(gid for gid in dict.fromkeys(gids) if gid not in present)
    return spec


def _merged_env(env: Sequence[Any], added: Iterable[str]) -> list[Any]:
    """A variable that is there is replaced in its place (the last one, if it is there twice), another is appended."""
    merged = list(env)
    places = {str(entry).partition("=")[0]: place for place, entry in enumerate(merged)}
    for entry in added:
        name = entry.partition("=")[0]
        if name in places:
            merged[places[name]] = entry
        else:
            places[name] = len(merged)
            merged.append(entry)
    return merged


def _add_device(spec: Json, node: DeviceNode, permissions: str) -> None:
    linux = _object(spec, "linux")
    devices = _list(linux, "devices", "linux")
    entry = _oci_device(node, spec)
    _remove_first(devices, "path", node.path)
    for place, other in enumerate(devices):
        if _field(other, "path") == node.path:
            devices[place] = entry
            break
    else:
        devices.append(entry)
    if node.type in ("b", "c"):
        rule: Json = {"allow": True, "type": node.type, "major": node.major, "minor": node.minor}
        if permissions != NO_PERMISSIONS:
            rule["access"] = permissions or _ALL_ACCESS
        _list(_object(linux, "resources", "linux"), "devices", "linux.resources").append(rule)


def _oci_device(node: DeviceNode, spec: Json) -> Json:
    entry: Json = {"path": node.path, "type": node.type, "major": node.major, "minor": node.minor}
    if node.file_mode is not None:
        entry["fileMode"] = node.file_mode
    for key, own in (("uid", node.uid), ("gid", node.gid)):
        owner = _container_id(spec, key) if own is None else own
        if owner is not None:
            entry[key] = owner
    return entry


def _container_id(spec: Json, key: str) -> int | None:
    """The container user's uid or gid, which owns nodes that name no owner; None for root, which owns them anyway."""
    user = _field(_field(spec, "process"), "user")
    value = _field(user, key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _merged_mounts(mounts: list[Any], added: Iterable[Mount], *, idmap: bool) -> list[Any]:
    for mount in added:
        _remove_first(mounts, "destination", mount.container_path)
        mounts.append(_oci_mount(mount, idmap=idmap))
    return sorted(mounts, key=_depth)


def _depth(mount: object) -> int:
    """Mounts are ordered by depth, so that none hides one that was mounted below it; the sort is stable."""
    destination = _field(mount, "destination")
    return clean(destination).count("/") if isinstance(destination, str) else 0


def _oci_mount(mount: Mount, *, idmap: bool) -> Json:
    options = list(mount.options)
    if idmap and not any(option in _MAPPED for option in options):
        mapping = "idmap" if mount.type == "bind" else ""
        for option in options:
            mapping = {"bind": "idmap", "rbind": "ridmap"}.get(option, mapping)
        if mapping:
            options.append(mapping)
    entry: Json = {"destination": mount.container_path, "source": mount.host_path}
    if mount.type:
        entry["type"] = mount.type
    if options:
        entry["options"] = options
    return entry


def _oci_hook(hook: Hook) -> Json:
    entry: Json = {"path": hook.path}
    if hook.args:
        entry["args"] = list(hook.args)
    if hook.env:
        entry["env"] = list(hook.env)
    if hook.timeout is not None:
        entry["timeout"] = hook.timeout
    return entry


def _has_user_namespace(spec: Json) -> bool:
    namespaces = _field(_field(spec, "linux"), "namespaces")
    return isinstance(namespaces, list) and any(_field(namespace, "type") == "user" for namespace in namespaces)


def _process(spec: Json) -> Json:
    """The process; a new one has the fields that OCI requires of every process."""
    if spec.get("process") is None:
        spec["process"] = {"user": {"uid": 0, "gid": 0}, "cwd": ""}
    return _object(spec, "process")


def _object(parent: Json, key: str, within: str = "") -> Json:
    """The object under `key`, made if it is absent or null."""
    part: Json = _part(parent, key, within, dict)
    return part


def _list(parent: Json, key: str, within: str = "") -> list[Any]:
    """The list under `key`, made if it is absent or null."""
    part: list[Any] = _part(parent, key, within, list)
    return part


def _part(parent: Json, key: str, within: str, make: Callable[[], Any]) -> Any:  # noqa: ANN401 - a JSON object or list
    if parent.get(key) is None:
        parent[key] = make()
    if type(parent[key]) is not make:
        where = f"{within}.{key}" if within else key
        wanted = "an object" if make is dict else "a list"
        raise InjectionError(where, f"this field of the OCI spec is not {wanted}")
    return parent[key]


def _field(value: object, key: str) -> object:
    return value.get(key) if isinstance(value, dict) else None


def _remove_first(entries: list[Any], key: str, value: str) -> None:
    for place, entry in enumerate(entries):
        if _field(entry, key) == value:
            del entries[place]
            return


def _copied(value: Any) -> Any:  # noqa: ANN401 - JSON data of any type
    if isinstance(value, Mapping):
        return {key: _copied(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(part) for part in value]
    return value
