"""What tests of injection stand on: specs and hosts from memory, and a small model of what NRI makes of an adjustment.

    container = api.Container(name="main", annotations={"cdi.k8s.io/x": "vendor.com/dev=a"})
    adjust = ...                                       # a plugin's answer
    shown_to_next(container, adjust)                   # the container as the next plugin is shown it
    shown_at_start(container, adjust, Version(0, 8, 0))  # and as the runtime shows it when it is about to start

Both raise `Conflict` where NRI would fail the creation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nri_cdi.allocation import guard_destinations, key_name, mark_key
from nri_cdi.cdi import (
    ContainerEdits,
    Device,
    DirectoryState,
    HostNode,
    HostNodeMissing,
    RejectedFile,
    Scan,
    Snapshot,
    Spec,
    SpecDirectory,
    SpecFile,
)
from nri_cdi.host.root import HostRoot, Presence
from nri_cdi.inject import InjectPlugin, Stance
from nri_cdi.nri import Runtime, Version, api

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NRI_1_7: Final = Version(0, 6, 1)
"""The NRI of containerd 1.7: it takes no mount away and narrows no device."""

NRI_2_1: Final = Version(0, 8, 0)
"""The NRI of containerd 2.0 and 2.1: it narrows no device."""

NRI_2_2: Final = Version(0, 10, 0)
"""The NRI of containerd 2.2."""

VERSIONS: Final = {"containerd 1.7": NRI_1_7, "containerd 2.1": NRI_2_1, "containerd 2.2": NRI_2_2}

_NAME: Final = key_name(bytes(16))

KEY: Final = f"cdi.k8s.io/{_NAME}"
"""An allocation key of ours."""

MARK: Final = mark_key(_NAME)
"""The annotation key of its mark."""

FOREIGN: Final = "cdi.k8s.io/other_gpu"
"""The key of another device plugin."""

POD: Final = api.PodSandbox(name="p", namespace="ns")
"""The pod of the containers here."""

KIND: Final = "vendor.com/dev"
"""The kind of the devices that `snapshot` makes."""

_HOOKS: Final = ("prestart", "create_runtime", "create_container", "start_container", "poststart", "poststop")


def snapshot(
    devices: Mapping[str, ContainerEdits], edits: ContainerEdits | None = None, *, rejected: Iterable[RejectedFile] = ()
) -> Snapshot:
    """A node with one spec file: devices of KIND by name, the edits of the whole spec, and files that were rejected."""
    spec = Spec("1.1.0", KIND, tuple(Device(name, part) for name, part in devices.items()), edits or ContainerEdits())
    directory = SpecDirectory("/etc/cdi", 0, DirectoryState.PRESENT)
    return Snapshot.build(Scan((directory,), (SpecFile("/etc/cdi/vendor.yaml", 0, spec, ()), *rejected)))


class Host(HostRoot):
    """A host from memory: device nodes by path, paths that are there, paths that cannot be seen. Everything else is absent."""

    def __init__(
        self, nodes: Mapping[str, HostNode] | None = None, paths: Iterable[str] = (), hidden: Iterable[str] = ()
    ) -> None:
        super().__init__()
        self.nodes, self.paths, self.hidden = dict(nodes or {}), set(paths), set(hidden)

    def device_node(self, path: str) -> HostNode:
        """The node. Raises HostNodeMissing."""
        if path in self.nodes:
            return self.nodes[path]
        raise HostNodeMissing(path, "no such file or directory")

    def presence(self, path: str) -> Presence:
        """Present for nodes and paths, not visible for what is hidden."""
        if path in self.hidden:
            return Presence.NOT_VISIBLE
        return Presence.PRESENT if path in self.paths or path in self.nodes else Presence.ABSENT


STANCE: Final = Stance("cdi.k8s.io/")


def injector(
    shot: Snapshot | None, nri: Version = NRI_2_2, host: HostRoot | None = None, stance: Stance = STANCE
) -> InjectPlugin:
    """An injection plugin, by default for the prefix `cdi.k8s.io/`, that a runtime with this NRI has configured; None: the specs never settle."""
    plugin = InjectPlugin(lambda _patience: shot, host or Host(), stance)
    plugin.configure(Runtime("containerd", "2.x", nri, 2.0, ""))
    return plugin


def carrying(key: str = KEY, *names: str) -> api.Container:
    """A container that carries one key with the devices of these names, `a` without any."""
    value = ",".join(f"{KIND}={name}" for name in names or ("a",))
    return api.Container(name="main", annotations={key: value}, env=["PATH=/bin"])


def guarded(container: api.Container) -> api.Container:
    """The container with the guard of KEY's allocation added to it."""
    for destination in guard_destinations(_NAME):
        container.mounts.add(destination=destination, source="/dev/null", options=["bind", "ro"])
    return container


def adjusted(
    container: api.Container, *edits: ContainerEdits, nri: Version = NRI_2_2, host: HostRoot | None = None
) -> api.ContainerAdjustment:
    """What a container is given on a node with the devices a, b, c that have these edits; empty when nothing is sent."""
    node = snapshot(dict(zip("abc", edits, strict=False)))
    answer = injector(node, nri, host).create_container(api.CreateContainerRequest(pod=POD, container=container))
    return answer.adjust if answer is not None else api.ContainerAdjustment()


class Conflict(Exception):
    """Something is set twice, by one plugin or by two: NRI fails the creation."""


def shown_to_next(container: api.Container, adjust: api.ContainerAdjustment) -> api.Container:
    """The container as the next plugin in the same request is shown it: a device's own rule is not made yet."""
    result = _adjusted(container, adjust, mount_removal=True)
    result.linux.resources.devices.extend(adjust.linux.resources.devices)
    return result


def shown_at_start(container: api.Container, adjust: api.ContainerAdjustment, nri: Version) -> api.Container:
    """The container that a runtime with this NRI makes of one plugin's adjustment: what it does not know it drops."""
    result = _adjusted(container, adjust, mount_removal=nri >= NRI_2_1)
    for device in adjust.linux.devices:
        rule = result.linux.resources.devices.add(
            allow=True, type=device.type, access="rwm" if device.type == "b" else "rw"
        )
        rule.major.value, rule.minor.value = device.major, device.minor
    if nri >= NRI_2_2:
        result.linux.resources.devices.extend(adjust.linux.resources.devices)
    return result


def _adjusted(container: api.Container, adjust: api.ContainerAdjustment, *, mount_removal: bool) -> api.Container:
    result = api.Container()
    result.CopyFrom(container)
    result.annotations.update(adjust.annotations)
    for hooks in _HOOKS:
        getattr(result.hooks, hooks).extend(getattr(adjust.hooks, hooks))
    _once(mount.destination for mount in adjust.mounts)
    _once(entry.key for entry in adjust.env)
    _once(device.path for device in adjust.linux.devices)
    gone = {mount.destination.removeprefix("-") for mount in adjust.mounts}
    if not mount_removal:
        gone = {mount.destination for mount in adjust.mounts}
    mounts = [mount for mount in container.mounts if mount.destination not in gone]
    del result.mounts[:]
    result.mounts.extend([*mounts, *(mount for mount in adjust.mounts if not mount.destination.startswith("-"))])
    kept = [entry for entry in container.env if entry.partition("=")[0] not in {e.key for e in adjust.env}]
    del result.env[:]
    result.env.extend([*kept, *(f"{entry.key}={entry.value}" for entry in adjust.env if not entry.key.startswith("-"))])
    paths = {device.path for device in adjust.linux.devices}
    devices = [device for device in container.linux.devices if device.path not in paths]
    del result.linux.devices[:]
    result.linux.devices.extend([*devices, *adjust.linux.devices])
    return result


def _once(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise Conflict(name)
        seen.add(name)
