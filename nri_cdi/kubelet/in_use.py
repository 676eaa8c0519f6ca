"""Under which names containers have devices now: asked over the kubelet's pod resources API, or read in its checkpoint where that cannot be asked."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from nri_cdi.kubelet.carried import UnreadableCheckpoint, devices_in, kinds_in
from nri_cdi.kubelet.pod_resources import NoAnswer, allocated
from nri_cdi.kubelet.sockets import socket_id

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Iterable, Mapping

    from nri_cdi.kubelet.standing import SocketId

LINGER: Final = 30.0
"""Seconds in which a kubelet that is new may not know all its pods yet: what was in use before counts as well."""

_Holders: TypeAlias = dict[str, frozenset[tuple[str, str]]]
"""The names that are in use, and who has each: the resource of which it was allocated, and the container."""


@dataclass(frozen=True, slots=True)
class Used:
    """The qualified names under which containers have devices, and those of them that only other containers have than before.

    Those that containers have of another resource than the configured one, from an earlier configuration, are `elsewhere`, with it.
    """

    names: frozenset[str] = frozenset()
    renewed: frozenset[str] = frozenset()
    elsewhere: Mapping[str, str] = field(default_factory=dict)


class InUse:
    """Gives the qualified names under which containers of this node have devices of the resources of `kinds` (names of resources by kind).

    `pod_resources` is the kubelet's socket, `checkpoint` its file, which counts a pod that has ended until the kubelet's next allocation.
    """

    def __init__(
        self,
        pod_resources: pathlib.Path,
        checkpoint: pathlib.Path,
        kinds: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._socket, self._checkpoint, self._clock = pod_resources, checkpoint, clock
        self._resources = kinds
        self._kinds: dict[str, str] = {resource: kind for kind, resource in kinds.items()}
        self._holders: _Holders | None = None
        self._before: _Holders = {}
        self._kubelet: SocketId | None = None
        self._new_until = float("-inf")
        self._listed = True

    def __call__(self) -> Used:
        """The names; those of the last time where neither source can be had."""
        now, kubelet = self._clock(), socket_id(self._socket)
        if self._holders is None or kubelet != self._kubelet:
            self._before = self._written() or {} if self._holders is None else self._holders
            self._kubelet, self._new_until = kubelet, now + LINGER
        listed, last = self._listed, self._holders or {}
        try:
            holders: _Holders | None = self._named(allocated(self._socket))
            self._listed = True
        except NoAnswer:
            holders = self._written()
            self._listed = False
        if holders is None:
            return Used(frozenset(last), elsewhere=self._elsewhere(last))
        if now < self._new_until:
            for name, others in self._before.items():
                holders[name] = holders.get(name, frozenset()) | others
        self._holders = holders
        renewed: frozenset[str] = frozenset()
        if listed is self._listed:  # the two sources do not call a container the same
            renewed = frozenset(name for name, ones in holders.items() if name in last and ones.isdisjoint(last[name]))
        return Used(frozenset(holders), renewed, self._elsewhere(holders))

    def _elsewhere(self, holders: _Holders) -> dict[str, str]:
        found = {}
        for name, ones in holders.items():
            resources = {resource for resource, _ in ones}
            if self._resources[name.partition("=")[0]] not in resources:
                found[name] = min(resources)
        return found

    def _written(self) -> _Holders | None:
        """What the checkpoint says, if it can be had."""
        try:
            return self._named(devices_in(self._checkpoint.read_text()))
        except (OSError, ValueError, UnreadableCheckpoint):
            return None

    def _named(self, devices: Iterable[tuple[str, str, str]]) -> _Holders:
        holders: dict[str, set[tuple[str, str]]] = {}
        for resource, device, container in devices:
            kind = self._kind(resource)
            if kind in self._resources:
                holders.setdefault(f"{kind}={device}", set()).add((resource, container))
        return {name: frozenset(ones) for name, ones in holders.items()}

    def _kind(self, resource: str) -> str:
        """The kind of a resource: as it is configured, or as it was when its devices were allocated. Empty if it is none of ours."""
        if resource not in self._kinds:
            try:
                found = kinds_in(self._checkpoint.read_text())
            except (OSError, ValueError, UnreadableCheckpoint):
                return ""
            self._kinds[resource] = found.get(resource, "")  # what is allocated from now on is of a configured one
        return self._kinds[resource]
