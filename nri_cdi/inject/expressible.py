"""What the runtime's NRI cannot do is refused by name, never dropped. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .promise import READ_WRITE
from .refusals import Reason, Refusal

if TYPE_CHECKING:
    from nri_cdi.cdi import ContainerEdits

    from .promise import Promise
    from .refusals import Subject
    from .runtime import Capabilities


def check(edits: ContainerEdits, promised: Promise, runtime: Capabilities, subject: Subject) -> None:
    """Raises Refusal for the first edit that an adjustment cannot carry on this runtime."""
    problem = _member(edits) or _node(promised, runtime) or _mark_like(promised)
    if problem:
        raise Refusal(
            Reason.INEXPRESSIBLE,
            subject,
            f"{problem}, which cannot be done through NRI on {runtime.label}",
            "use a spec without it, or a runtime whose own CDI does it",
        )


def _member(edits: ContainerEdits) -> str | None:
    if edits.intel_rdt is not None:
        return "its CDI spec sets intelRdt"
    if edits.net_devices:
        return f'its CDI spec moves the network device "{edits.net_devices[0].host_interface_name}" (netDevices)'
    if edits.additional_gids:
        return "its CDI spec adds groups to the container's process (additionalGids)"
    return None


def _node(promised: Promise, runtime: Capabilities) -> str | None:
    for item in promised.nodes.values():
        if item.node.type not in {"b", "c"}:
            return f'its CDI spec has the device node {item.node.path} of type "{item.node.type}"'
        if item.access != READ_WRITE and not runtime.device_rules:
            allowed = "".join(sorted(item.access)) or "none"
            return f"its CDI spec allows only {allowed} for the device node {item.node.path}"
    return None


def _mark_like(promised: Promise) -> str | None:
    """A name that begins with `-` would be taken as a removal mark and be lost without an error."""
    for kind, names in (("variable", promised.env), ("mount", promised.mounts), ("device node", promised.nodes)):
        for name in names:
            if name.startswith("-"):
                return f'its CDI spec has the {kind} "{name}", whose name begins with "-"'
    return None
