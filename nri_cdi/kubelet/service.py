"""The kubelet half as a whole: the plugins of all configured resources, fed with snapshots."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from nri_cdi.kubelet.inventory import Resource, SpecNames, changes, inventory, resource_name_problem
from nri_cdi.kubelet.plugin import Answers, DevicePlugin, Ready
from nri_cdi.kubelet.registration import Registration

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Sequence

_log = logging.getLogger("nri_cdi.kubelet")


class KubeletHalf:
    """Advertises the devices of the configured CDI kinds to the kubelet of this node and answers what it asks.

        half = KubeletHalf(["device.example.com/gpu"], directory, prefix=..., guard=..., ready=..., fatal=...)
        half.update(snapshot)       # first: a registration without devices would cost waiting pods their admission
        half.start()
        half.update(next_snapshot)  # whenever there is one, always from one thread
        half.stop()

    `ready` is asked before each start of a container (see `plugin.Ready`). `fatal` is called with the reason if a thread ends
    unexpectedly; the process should end then. Raises ValueError for kinds that Kubernetes refuses as resource names, and
    `plugin.CannotServe` for a directory too long for a socket.
    """

    def __init__(
        self,
        kinds: Sequence[str],
        device_plugins_dir: pathlib.Path,
        *,
        prefix: str,
        guard: bool,
        ready: Ready,
        fatal: Callable[[str], None],
    ) -> None:
        self._kinds = tuple(dict.fromkeys(kinds))
        problems = [problem for kind in self._kinds if (problem := resource_name_problem(kind))]
        if problems:
            raise ValueError("; ".join(problems))
        self._inventory: tuple[Resource, ...] = ()
        self._plugins: dict[str, DevicePlugin] = {}
        self._registrations: list[Registration] = []
        for kind in self._kinds:
            wake = threading.Event()
            plugin = DevicePlugin(Resource(kind, kind), device_plugins_dir, Answers(prefix, guard, ready), wake.set)
            self._plugins[kind] = plugin
            self._registrations.append(Registration(plugin, device_plugins_dir / "kubelet.sock", wake, fatal))

    def __repr__(self) -> str:
        return f"<KubeletHalf {' '.join(self._kinds)}: {sum(self.registered.values())} registered>"

    @property
    def inventory(self) -> tuple[Resource, ...]:
        """What the kubelet is told now."""
        return self._inventory

    @property
    def registered(self) -> dict[str, bool]:
        """For each resource whether the kubelet took it and follows its list of devices."""
        return {
            kind: registration.standing.registered and self._plugins[kind].streams.open > 0
            for kind, registration in zip(self._kinds, self._registrations, strict=True)
        }

    def update(self, snapshot: SpecNames) -> None:
        """Take the devices of a new snapshot."""
        present = inventory(snapshot, self._kinds, self._inventory)
        for change in changes(self._inventory, present):
            _log.log(logging.WARNING if change.alarming else logging.INFO, "%s", change.text)
        self._inventory = present
        for resource in present:
            self._plugins[resource.kind].update(resource)

    def start(self) -> None:
        """Serve and register, and keep it so. Raises RuntimeError before the first `update`."""
        if self._kinds and not self._inventory:
            raise RuntimeError(
                "KubeletHalf.start() before update(): the kubelet would be told that there are no devices"
            )
        for registration in self._registrations:
            registration.start()

    def stop(self) -> None:
        """End all threads and remove our sockets, within a second; the kubelet then shows the resources with 0 allocatable devices."""
        for registration in self._registrations:
            registration.stop()
        for plugin in self._plugins.values():
            plugin.close()
