"""Under which names containers have devices now: asked over the kubelet's pod resources API, or read in its checkpoint where that cannot be asked."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

from nri_cdi.kubelet.pod_resources import NoAnswer, allocated

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Mapping

LINGER: Final = 30.0
"""Seconds for which a name still counts that is not listed any more: a kubelet that has just started does not know all its pods yet."""


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
        self._listed: dict[str, float] = {}

    def __call__(self) -> frozenset[str]:
        """The names; those of the last time where neither source can be had."""
        now = self._clock()
        try:
            devices = allocated(self._socket)
        except NoAnswer:
            try:
                devices = in_checkpoint(self._checkpoint.read_text())
            except (OSError, ValueError):
                return frozenset(self._listed)
        for resource, device in devices:
            if resource in self._kinds:
                self._listed[f"{self._kinds[resource]}={device}"] = now
        self._listed = {name: at for name, at in self._listed.items() if at == now or now - at < LINGER}
        return frozenset(self._listed)


def in_checkpoint(text: str) -> list[tuple[str, str]]:
    """The devices that a checkpoint has, each with its resource. Raises ValueError for a text that is no checkpoint."""
    try:
        entries: list[dict[str, Any]] = json.loads(text)["Data"]["PodDeviceEntries"] or []
        return [
            (str(entry["ResourceName"]), str(device))
            for entry in entries
            for devices in entry["DeviceIDs"].values()
            for device in devices
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a device plugin checkpoint as it is known: {type(error).__name__}: {error}") from error
