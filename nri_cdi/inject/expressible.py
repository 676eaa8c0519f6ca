"""What the runtime's NRI cannot do is refused by name, never dropped. Pure.

Only what is still to be done counts: where the runtime's own CDI has been at work the container has everything, also what NRI has no field for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .promise import READ_WRITE
from .refusals import Reason, Refusal

if TYPE_CHECKING:
    from nri_cdi.cdi import ContainerEdits

    from .promise import Promise
    from .request import Shown
    from .runtime import Capabilities


def check(edits: ContainerEdits, promised: Promise, missing: Promise, container: Shown, runtime: Capabilities) -> None:
    """Raises Refusal for the first edit that the container does not have yet and that an adjustment cannot carry on this runtime."""
    problem = (
        _member(edits, promised, missing, container)
        or _device(missing)
        or _access(missing, runtime)
        or _mark_like(missing)
    )
    if problem:
        raise Refusal(
            Reason.INEXPRESSIBLE,
            container.subject,
            f"{problem}, which cannot be done through NRI on {runtime.label}",
            "use a spec without it, or a runtime whose own CDI does it",
        )


def _member(edits: ContainerEdits, promised: Promise, missing: Promise, container: Shown) -> str | None:
    """The member of the edits that NRI has no field for, unless the runtime's own CDI has carried it out."""
    if done_already(promised, missing, container):
        return None
    if edits.intel_rdt is not None:
        return "its CDI spec sets intelRdt"
    if edits.net_devices:
        return f'its CDI spec moves the network device "{edits.net_devices[0].host_interface_name}" (netDevices)'
    if set(edits.additional_gids) - {0} - container.additional_gids:
        return "its CDI spec adds groups to the container's process (additionalGids)"
    return None


def done_already(promised: Promise, missing: Promise, container: Shown) -> bool:
    """Whether the runtime's own CDI has injected these edits: everything that can be seen of them is there.

    Not every runtime shows groups, and none shows all of intelRdt, so the rest is concluded. Variables and mounts alone prove nothing (a pod
    may have the same), nor does a node of a privileged container, which has all of them: there must be a hook, or a node with a rule of its own.
    """
    evidence = bool(promised.hooks) or any(
        rule.allow and rule.names(item.node) for item in promised.nodes.values() for rule in container.rules
    )
    return evidence and missing.is_empty


def _device(missing: Promise) -> str | None:
    for item in missing.nodes.values():
        if item.node.type not in {"b", "c"}:
            return f'its CDI spec has the device node {item.node.path} of type "{item.node.type}"'
    return None


def _access(missing: Promise, runtime: Capabilities) -> str | None:
    for item in missing.nodes.values():
        if item.access != READ_WRITE and not runtime.device_rules:
            allowed = "".join(sorted(item.access)) or "none"
            return f"its CDI spec allows only {allowed} for the device node {item.node.path}"
    return None


def _mark_like(missing: Promise) -> str | None:
    """A name that begins with `-` would be taken as a removal mark and be lost without an error."""
    for kind, names in (("variable", missing.env), ("mount", missing.mounts), ("device node", missing.nodes)):
        for name in names:
            if name.startswith("-"):
                return f'its CDI spec has the {kind} "{name}", whose name begins with "-"'
    return None
