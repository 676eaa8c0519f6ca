"""Under which names containers have devices now: asked over the kubelet's pod resources API, or read in its checkpoint where that cannot be asked."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from nri_cdi.kubelet.carried import UnreadableCheckpoint, devices_in
from nri_cdi.kubelet.pod_resources import NoAnswer, allocated
from nri_cdi.kubelet.sockets import socket_id

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Iterable, Mapping

    from nri_cdi.kubelet.standing import SocketId

LINGER: Final = 30.0
"""Seconds in which a kubelet that is new may not know all its pods yet: what was in use before counts as well."""


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
        self._kinds = {resource: kind for kind, resource in kinds.items()}
        self._names: frozenset[str] | None = None
        self._before: frozenset[str] = frozenset()
        self._kubelet: SocketId | None = None
        self._new_until = float("-inf")

    def __call__(self) -> frozenset[str]:
        """The names; those of the last time where neither source can be had."""
        now, kubelet = self._clock(), socket_id(self._socket)
        if self._names is None or kubelet != self._kubelet:
            self._before = self._written() or frozenset() if self._names is None else self._names
            self._kubelet, self._new_until = kubelet, now + LINGER
        try:
            names: frozenset[str] | None = self._named(allocated(self._socket))
        except NoAnswer:
            names = self._written()
        if names is not None:
            self._names = names | (self._before if now < self._new_until else frozenset())
        return self._names or frozenset()

    def _written(self) -> frozenset[str] | None:
        """What the checkpoint says, if it can be had."""
        try:
            return self._named(devices_in(self._checkpoint.read_text()))
        except (OSError, ValueError, UnreadableCheckpoint):
            return None

    def _named(self, devices: Iterable[tuple[str, str]]) -> frozenset[str]:
        return frozenset(f"{self._kinds[resource]}={device}" for resource, device in devices if resource in self._kinds)
