"""The rules of the specification over a `Spec`: pure, independent of how it was read.

Rules and their order are those of the reference implementation, so the first fault is the one it would report; all the others
follow. A `Fault` says where in the spec it is; `load` turns that into a line and a column.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from nri_cdi.cdi import versions
from nri_cdi.cdi.errors import Rule, listed
from nri_cdi.cdi.names import class_fault, device_fault, vendor_fault
from nri_cdi.cdi.nodes import TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nri_cdi.cdi.model import ContainerEdits, DeviceNode, Hook, IntelRdt, NetDevice, Spec
    from nri_cdi.cdi.versions import Place

HOOK_NAMES: Final = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
"""The OCI hooks, in the order of a container's life."""

NO_PERMISSIONS: Final = "none"
"""The device node permissions that give a node without any access rule for it."""

_CLOS_ID_MAX: Final = 4095
"""Linux refuses longer path names; in bytes."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A broken rule: where, which, the value, what is wrong, what to do."""

    place: Place
    rule: Rule
    value: str | None
    message: str
    hint: str


def json_path(place: Place) -> str:
    """`devices[0].containerEdits.env[1]`; a field name with other characters than letters is quoted: `annotations["a/b"]`."""
    text = ""
    for step in place:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step.isascii() and step.isalnum():
            text += f".{step}" if text else step
        else:
            text += f"[{_quoted(step)}]"
    return text


def validate(spec: Spec) -> list[Fault]:
    """All faults of the spec, the deciding one first; empty if it is valid."""
    return [*_version(spec), *_kind(spec), *_edits(spec.edits, ("containerEdits",)), *_devices(spec)]


def warnings(spec: Spec) -> list[Fault]:
    """Rules that the spec breaks and that no implementation enforces."""
    declared = versions.parse_version(spec.version)
    if declared is None:
        return []
    return [
        Fault(
            need.place,
            Rule.MINIMUM_VERSION,
            spec.version,
            f"{need.feature} needs cdiVersion {need.version}",
            f"declare cdiVersion {need.version}",
        )
        for need in versions.requirements(spec)
        if not need.enforced and versions.index(need.version) > versions.index(declared)
    ]


def _version(spec: Spec) -> Iterator[Fault]:
    declared = versions.parse_version(spec.version)
    if declared is None:
        what = f"there is no CDI version {_quoted(spec.version)}" if spec.version else "the cdiVersion is missing"
        least = versions.minimum_version(spec)
        yield Fault(
            ("cdiVersion",),
            Rule.VERSION,
            spec.version,
            what,
            f"declare one of {listed(versions.VERSIONS[versions.index(least) :])}",
        )
        return
    least = versions.minimum_version(spec)
    if versions.index(declared) >= versions.index(least):
        return
    needs = [need for need in versions.requirements(spec) if need.enforced and need.version == least]
    reason = f"{needs[0].feature} at {json_path(needs[0].place)}" if needs else "no older version is accepted"
    yield Fault(
        ("cdiVersion",),
        Rule.MINIMUM_VERSION,
        spec.version,
        f"the spec version must be at least {least}, not {declared} ({reason})",
        f"declare cdiVersion {least}",
    )


def _kind(spec: Spec) -> Iterator[Fault]:
    if not spec.vendor:
        what = f"{_quoted(spec.kind)} is not vendor/class" if spec.kind else "the kind is missing"
        yield Fault(("kind",), Rule.VENDOR, spec.kind, what, "write it as vendor.com/class")
        return
    if fault := vendor_fault(spec.vendor):
        yield Fault(("kind",), Rule.VENDOR, spec.kind, fault, "write the kind as vendor.com/class")
    if fault := class_fault(spec.cls):
        yield Fault(("kind",), Rule.CLASS, spec.kind, fault, "write the kind as vendor.com/class")


def _devices(spec: Spec) -> Iterator[Fault]:
    first: dict[str, int] = {}
    for number, device in enumerate(spec.devices):
        place = ("devices", number)
        if fault := device_fault(device.name):
            yield Fault((*place, "name"), Rule.DEVICE_NAME, device.name, fault, "give the device a valid name")
        if device.edits.is_empty:
            message = f"the device {_quoted(device.name)} has no edits"
            yield Fault(
                (*place, "containerEdits"),
                Rule.EMPTY_EDITS,
                None,
                message,
                "give it at least one edit, for example a deviceNodes entry",
            )
        yield from _edits(device.edits, (*place, "containerEdits"))
        other = first.setdefault(device.name, number)
        if other != number and device.name:
            message = f"the device name {_quoted(device.name)} is used by devices[{other}] already"
            yield Fault(
                (*place, "name"), Rule.DUPLICATE_DEVICE, device.name, message, "rename or remove one of the two"
            )
    if not spec.devices:
        yield Fault(
            ("devices",),
            Rule.NO_DEVICES,
            None,
            "the spec has no devices",
            "add at least one device, or remove the file",
        )


def _edits(edits: ContainerEdits, place: Place) -> Iterator[Fault]:
    if edits.env:
        yield from _env(edits.env, (*place, "env"))
    for number, node in enumerate(edits.device_nodes):
        yield from _device_node(node, (*place, "deviceNodes", number))
    for number, hook in enumerate(edits.hooks):
        yield from _hook(hook, (*place, "hooks", number))
    for number, mount in enumerate(edits.mounts):
        for name, value in (("hostPath", mount.host_path), ("containerPath", mount.container_path)):
            if not value:
                yield _missing((*place, "mounts", number, name), Rule.MOUNT)
    if edits.intel_rdt is not None:
        yield from _intel_rdt(edits.intel_rdt, (*place, "intelRdt"))
    if edits.net_devices:
        yield from _net_devices(edits.net_devices, (*place, "netDevices"))


def _env(env: Sequence[str], place: Place) -> Iterator[Fault]:
    for number, variable in enumerate(env):
        if variable.find("=") <= 0:
            message = f"{_quoted(variable)} is not an environment variable"
            yield Fault((*place, number), Rule.ENV, variable, message, "write it as NAME=VALUE")


def _device_node(node: DeviceNode, place: Place) -> Iterator[Fault]:
    if not node.path:
        yield _missing((*place, "path"), Rule.DEVICE_NODE)
    if node.type not in ("", *TYPES):
        message = f"there is no device type {_quoted(node.type)}"
        yield Fault(
            (*place, "type"), Rule.DEVICE_NODE, node.type, message, f"use one of {listed(TYPES)}, or leave it out"
        )
    if node.permissions != NO_PERMISSIONS and node.permissions.strip("rwm"):
        message = f"{_quoted(node.permissions)} are not device permissions"
        hint = f"use letters of rwm, or {NO_PERMISSIONS}"
        yield Fault((*place, "permissions"), Rule.DEVICE_NODE, node.permissions, message, hint)


def _hook(hook: Hook, place: Place) -> Iterator[Fault]:
    if hook.hook_name not in HOOK_NAMES:
        message = f"there is no hook {_quoted(hook.hook_name)}" if hook.hook_name else "hookName is missing"
        yield Fault((*place, "hookName"), Rule.HOOK, hook.hook_name, message, f"use one of {listed(HOOK_NAMES)}")
    if not hook.path:
        yield _missing((*place, "path"), Rule.HOOK)
    yield from _env(hook.env, (*place, "env"))


def _intel_rdt(rdt: IntelRdt, place: Place) -> Iterator[Fault]:
    name = rdt.clos_id
    if name == "/":
        return
    too_long = len(name.encode(errors="surrogatepass")) > _CLOS_ID_MAX
    if too_long or name in (".", "..") or "/" in name or "\n" in name:
        message = f"closID {_quoted(name[:64])} is not a directory name"
        yield Fault((*place, "closID"), Rule.INTEL_RDT, name, message, "use a plain name, or / for the root class")


def _net_devices(devices: Sequence[NetDevice], place: Place) -> Iterator[Fault]:
    hosts: set[str] = set()
    names: set[str] = set()
    for number, device in enumerate(devices):
        for key, value, seen in (
            ("hostInterfaceName", device.host_interface_name, hosts),
            ("name", device.name, names),
        ):
            if not value:
                yield _missing((*place, number, key), Rule.NET_DEVICE)
            elif value in seen:
                message = f"{key} {_quoted(value)} is used twice"
                yield Fault(
                    (*place, number, key),
                    Rule.NET_DEVICE,
                    value,
                    message,
                    "list each interface once, each under its own name",
                )
            seen.add(value)


def _missing(place: Place, rule: Rule) -> Fault:
    return Fault(place, rule, "", f"{place[-1]} is missing or empty", f"give it a {place[-1]}")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
