"""A decision as the adjustment that NRI takes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nri_cdi.allocation import GUARD_ROOT
from nri_cdi.nri import api

from .promise import READ_WRITE
from .request import HOOK_FIELDS

if TYPE_CHECKING:
    from .decision import Decision
    from .promise import PromisedNode
    from .request import Hook, Mount
    from .runtime import Capabilities

_PROPAGATED: Final = frozenset({"slave", "rslave", "shared", "rshared"})
_COVER: Final = api.Mount(
    destination=GUARD_ROOT,
    type="tmpfs",
    source="tmpfs",
    options=["nosuid", "nodev", "noexec", "ro", "size=64k", "mode=555"],
)
"""Lies on the guards' parent where the runtime cannot take a mount away."""


def adjustment(decision: Decision, runtime: Capabilities) -> api.ContainerAdjustment:
    """The adjustment that brings what is missing, leaves the marks and lifts the guards."""
    missing = decision.missing
    result = api.ContainerAdjustment(
        annotations=decision.marks,
        mounts=[*_lifted(decision.guards, runtime), *map(_mount, sorted(missing.mounts.values(), key=_propagates))],
        env=[api.KeyValue(key=name, value=value) for name, value in missing.env.items()],
    )
    for item in missing.nodes.values():
        result.linux.devices.append(_device(item))
        if item.access != READ_WRITE:
            result.linux.resources.devices.append(_narrowed(item))
    for hook in missing.hooks:
        getattr(result.hooks, HOOK_FIELDS[hook.kind]).append(_hook(hook))
    return result


def _lifted(guards: tuple[str, ...], runtime: Capabilities) -> list[api.Mount]:
    """What takes the guards away: removal marks, or a cover on the parent (the children then are null devices in it)."""
    if not guards:
        return []
    return [api.Mount(destination=f"-{guard}") for guard in guards] if runtime.mount_removal else [_COVER]


def _propagates(mount: Mount) -> bool:
    """Mounts with slave or shared propagation go last: the runtime's check of the host mount sticks to those behind them."""
    return not _PROPAGATED.isdisjoint(mount.options)


def _mount(mount: Mount) -> api.Mount:
    return api.Mount(destination=mount.destination, source=mount.source, type=mount.type, options=mount.options)


def _device(item: PromisedNode) -> api.LinuxDevice:
    node = item.node
    device = api.LinuxDevice(path=node.path, type=node.type, major=node.major, minor=node.minor)
    if node.file_mode is not None:
        device.file_mode.value = node.file_mode
    if node.uid is not None:
        device.uid.value = node.uid
    if node.gid is not None:
        device.gid.value = node.gid
    return device


def _narrowed(item: PromisedNode) -> api.LinuxDeviceCgroup:
    """The rule behind the device's own, which always allows reading and writing: it takes away what is not promised."""
    denied = "".join(sorted(READ_WRITE - item.access)) + "m"
    return api.LinuxDeviceCgroup(
        allow=False,
        type=item.node.type,
        major=api.OptionalInt64(value=item.node.major),
        minor=api.OptionalInt64(value=item.node.minor),
        access=denied,
    )


def _hook(hook: Hook) -> api.Hook:
    result = api.Hook(path=hook.path, args=hook.args, env=hook.env)
    if hook.timeout is not None:
        result.timeout.value = hook.timeout
    return result
