"""A container as the runtime shows it, as frozen data: what creation, the start gate and the subtraction look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .refusals import Subject

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nri_cdi.nri import api

HOOK_FIELDS: Final = {
    "prestart": "prestart",
    "createRuntime": "create_runtime",
    "createContainer": "create_container",
    "startContainer": "start_container",
    "poststart": "poststart",
    "poststop": "poststop",
}
"""The kinds of OCI hooks by their names in CDI, and the fields of NRI's Hooks."""


@dataclass(frozen=True, slots=True)
class Node:
    """A device node in a container."""

    path: str
    type: str
    major: int
    minor: int
    file_mode: int | None
    uid: int | None
    gid: int | None


@dataclass(frozen=True, slots=True)
class DeviceRule:
    """A rule of the device cgroup; None for any number, type `a` (or none) for any type."""

    allow: bool
    type: str
    major: int | None
    minor: int | None
    access: str

    def matches(self, node: Node) -> bool:
        """Whether the rule is about a node, among others perhaps."""
        return (
            self.type in {"a", "", node.type} and self.major in {None, node.major} and self.minor in {None, node.minor}
        )

    def names(self, node: Node) -> bool:
        """Whether the rule is about a node's numbers and no others."""
        return (self.type, self.major, self.minor) == (node.type, node.major, node.minor)


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount in a container."""

    destination: str
    source: str
    type: str
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Hook:
    """An OCI hook of a kind (`createContainer`...); `timeout` in seconds."""

    kind: str
    path: str
    args: tuple[str, ...]
    env: tuple[str, ...]
    timeout: int | None


@dataclass(frozen=True, slots=True)
class Shown:
    """A container as a request shows it."""

    subject: Subject
    pod_annotations: Mapping[str, str]
    annotations: Mapping[str, str]
    env: Mapping[str, str]
    """By name; an entry without `=` has the value ""."""
    nodes: Mapping[str, Node]
    rules: tuple[DeviceRule, ...]
    mounts: tuple[Mount, ...]
    hooks: tuple[Hook, ...]
    uid: int
    gid: int
    """Of the container's process; 0 also when the runtime does not say (before containerd 2.3)."""
    additional_gids: frozenset[int]
    """Likewise; empty also when the runtime does not say."""

    def access(self, node: Node) -> frozenset[str]:
        """Which of `r` and `w` the device cgroup allows for a node: the last rule that matches decides each."""
        allowed: set[str] = set()
        for rule in self.rules:
            if rule.matches(node):
                letters = set(rule.access) & {"r", "w"}
                allowed = allowed | letters if rule.allow else allowed - letters
        return frozenset(allowed)


def subject_of(pod: api.PodSandbox, container: api.Container) -> Subject:
    """Which container a request is about."""
    return Subject(pod.namespace, pod.name, container.name)


def shown(pod: api.PodSandbox, container: api.Container) -> Shown:
    """The container as frozen data."""
    linux = container.linux
    return Shown(
        subject=subject_of(pod, container),
        pod_annotations=dict(pod.annotations),
        annotations=dict(container.annotations),
        env={name: value for name, _, value in (entry.partition("=") for entry in container.env)},
        nodes={device.path: _node(device) for device in linux.devices},
        rules=tuple(_rule(rule) for rule in linux.resources.devices),
        mounts=tuple(Mount(m.destination, m.source, m.type, tuple(m.options)) for m in container.mounts),
        hooks=tuple(
            _hook(kind, hook) for kind, field in HOOK_FIELDS.items() for hook in getattr(container.hooks, field)
        ),
        uid=container.user.uid,
        gid=container.user.gid,
        additional_gids=frozenset(container.user.additional_gids),
    )


def _node(device: api.LinuxDevice) -> Node:
    return Node(
        device.path,
        device.type,
        device.major,
        device.minor,
        device.file_mode.value if device.HasField("file_mode") else None,
        device.uid.value if device.HasField("uid") else None,
        device.gid.value if device.HasField("gid") else None,
    )


def _rule(rule: api.LinuxDeviceCgroup) -> DeviceRule:
    return DeviceRule(
        rule.allow,
        rule.type,
        rule.major.value if rule.HasField("major") else None,
        rule.minor.value if rule.HasField("minor") else None,
        rule.access,
    )


def _hook(kind: str, hook: api.Hook) -> Hook:
    timeout = hook.timeout.value if hook.HasField("timeout") else None
    return Hook(kind, hook.path, tuple(hook.args), tuple(hook.env), timeout)
