"""The kubelet half as a whole: the inventory of the configured kinds, and for each resource with devices a plugin that the kubelet knows."""

from __future__ import annotations

import logging
import pathlib
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nri_cdi.kubelet.carried import CHECKPOINT
from nri_cdi.kubelet.changes import changes, omissions
from nri_cdi.kubelet.elsewhere import Count, Elsewhere
from nri_cdi.kubelet.identity import Rules
from nri_cdi.kubelet.in_use import InUse
from nri_cdi.kubelet.inventory import Inventory, Known, Patience, Recalled, remember
from nri_cdi.kubelet.keeper import Keeper, Meeting, Node, Terms
from nri_cdi.kubelet.memory import Memory, boot_id
from nri_cdi.kubelet.plugin import Answers, DevicePlugin, Ready, check_length
from nri_cdi.kubelet.preferred import Preference
from nri_cdi.kubelet.registration import Registration
from nri_cdi.kubelet.registry import Desk, RegistryRegistration
from nri_cdi.kubelet.socket_watch import SocketWatch
from nri_cdi.kubelet.sockets import socket_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from nri_cdi.cdi import DeviceNode
    from nri_cdi.kubelet.candidates import Specs
    from nri_cdi.kubelet.directories import Directories
    from nri_cdi.kubelet.loop import Loop
    from nri_cdi.kubelet.told import Resource, Told

_log = logging.getLogger("nri_cdi.kubelet")


@dataclass(frozen=True, slots=True)
class Config:
    """What the half is to do. `kinds` are the CDI kinds with the names of their resources (see `names.resource_names`); times are seconds.

    With `registry` the plugins are registered in the kubelet's plugins_registry, else over its kubelet.sock.
    """

    kinds: Mapping[str, str]
    directories: Directories
    prefix: str
    guard: bool = True
    pre_start: bool = True
    """Whether PreStartContainer holds containers whose devices are not in order."""
    registry: bool = False
    preference: Preference = Preference.PACKED
    rules: Rules = field(default_factory=Rules)
    patience: Patience = field(default_factory=Patience)
    unhealthy_after: float = 120.0

    @property
    def sockets(self) -> pathlib.Path:
        """Where the plugins' sockets are."""
        return self.directories.plugins_registry if self.registry else self.directories.device_plugins


@dataclass(frozen=True, slots=True)
class _Offered:
    """A resource that has or had devices, and what serves it."""

    plugin: DevicePlugin
    loop: Loop
    wake: threading.Event


class KubeletHalf:
    """Advertises the devices of the configured CDI kinds to the kubelet of this node and answers what it asks.

        half = KubeletHalf(config, Node(HostRoot(), Sysfs()), ready=..., fatal=...)
        half.start()
        half.update(snapshot)  # whenever there is one, from any thread
        half.stop()

    `ready` is asked before each start of a container (see `plugin.Ready`), and once a second, with no names, how the NRI half is. `fatal` is
    called with the reason if a thread ends unexpectedly; the process should end then. A resource is registered when it has its first device,
    never without: with an empty list the kubelet would end waiting pods for good. Raises `plugin.CannotServe` for a directory too
    long for a socket.
    """

    def __init__(self, config: Config, node: Node, *, ready: Ready, fatal: Callable[[str], None]) -> None:
        self._config, self._ready, self._fatal = config, ready, fatal
        boot = boot_id()
        self._memories = {kind: _memory(config, kind, name, boot) for kind, name in config.kinds.items()}
        for name in config.kinds.values():
            check_length(config.sockets / socket_name(name))
        terms = Terms(config.kinds, config.rules, config.patience, config.unhealthy_after)
        directories = config.directories
        in_use = InUse(
            directories.pod_resources / "kubelet.sock", directories.device_plugins / CHECKPOINT, config.kinds
        )
        meeting = Meeting(self._asked, in_use, self._starts, self._deliver, fatal)
        self._keeper = Keeper(node, terms, self._remembered(), meeting)
        own = (config.sockets / socket_name(name) for name in config.kinds.values())
        self._sockets = SocketWatch((directories.device_plugins / "kubelet.sock", *own), self._wake)
        self._told: Told | None = None
        self._kept: dict[str, Inventory] = {}
        self._offered: dict[str, _Offered] = {}
        self._lock = threading.Lock()
        self._stopped = False

    def __repr__(self) -> str:
        return f"<KubeletHalf {' '.join(self._config.kinds.values())}: {sum(self.registered.values())} registered>"

    @property
    def resources(self) -> tuple[Resource, ...]:
        """What the kubelet is told now."""
        return self._told.resources if self._told is not None else ()

    @property
    def registered(self) -> dict[str, bool]:
        """For each resource whether the kubelet took it and follows its list of devices."""
        with self._lock:
            offered = dict(self._offered)
        return {name: kind in offered and offered[kind].loop.in_place for kind, name in self._config.kinds.items()}

    @property
    def poised(self) -> bool:
        """Whether all is done that can be done before there is a kubelet: the devices are known, and whatever resource has some waits for it."""
        told = self._told
        with self._lock:
            offered = dict(self._offered)
        return told is not None and all(
            one.kind in offered and offered[one.kind].loop.poised for one in told.resources if one.devices
        )

    def problem(self) -> str | None:
        """Why not all resources with devices are with the kubelet now, each in the words of its newest log line; None if they are."""
        if not self._keeper.informed:
            return "the CDI spec files of this node have not been read yet"
        with self._lock:
            offered = list(self._offered.values())
        missing = [one.loop.said for one in offered if not one.loop.in_place]
        return f"not registered with the kubelet: {'; '.join(missing)}" if missing else None

    def update(self, snapshot: Specs) -> None:
        """Take the devices of a new snapshot. From any thread; never waits."""
        self._keeper.update(snapshot)

    def start(self) -> None:
        """Keep the inventory, serve and register, until `stop`."""
        self._sockets.start()
        self._keeper.start()

    def stop(self) -> None:
        """End all threads and remove our sockets, within two seconds; the kubelet then shows the resources with 0 allocatable devices."""
        self._keeper.stop()
        self._sockets.stop()
        with self._lock:
            self._stopped = True
            offered = list(self._offered.values())
        for one in offered:
            one.loop.stop()
        for one in offered:
            one.plugin.close()

    # -- inside

    def _remembered(self) -> Inventory:
        known: dict[str, Known] = {}
        had: dict[str, tuple[DeviceNode, ...]] = {}
        for memory in self._memories.values():
            one = remember(
                memory.recalled, same_boot=memory.same_boot, patience=self._config.patience, now=time.monotonic()
            )
            known.update(one.known)
            had.update(one.had)
        return Inventory(known, had=had)

    def _check(self, names: tuple[str, ...]) -> str | None:
        """Why a container with these devices may not start: the NRI half's answer, then our own look at the nodes."""
        return (self._ready(names) or self._keeper.hold(names)) if self._config.pre_start else None

    def _asked(self) -> str | None:
        try:
            return self._ready(())
        except Exception as error:  # noqa: BLE001  # whatever it is, the NRI half did not say that it is there
            return f"it cannot be asked: {type(error).__name__}: {error}"

    def _wake(self) -> None:
        """Have all registrations look now."""
        with self._lock:
            for one in self._offered.values():
                one.wake.set()

    def _starts(self) -> Iterable[float]:
        with self._lock:
            return [one.loop.since for one in self._offered.values()]

    def _deliver(self, told: Told) -> None:
        """Take what the kubelet is to be told; called by the keeper's thread only."""
        before, self._told = self._told, told
        if told is not before:
            left_out, resources = before.inventory.left_out if before else {}, before.resources if before else ()
            lines = (*omissions(left_out, told.inventory.left_out), *changes(resources, told.resources))
            for line in lines:
                _log.log(logging.WARNING if line.alarming else logging.INFO, "%s", line.text)
        for resource in told.resources:
            one = self._offered.get(resource.kind)
            if one is None:
                if resource.devices:
                    self._offer(resource)
            elif resource.devices:
                one.plugin.update(resource)
            else:
                self._withdraw(resource)
        for kind, one in self._offered.items():  # the disk comes after the kubelet
            if one.loop.registered:
                self._keep(kind, told.inventory)

    def _keep(self, kind: str, inventory: Inventory) -> None:
        """Have what the kubelet was told of a kind remembered."""
        if self._kept.get(kind) is not inventory or self._memories[kind].is_lost():
            devices = (
                Recalled(known.candidate, known.health.healthy, known.gone_since is None, inventory.had.get(name, ()))
                for name, known in inventory.known.items()
                if known.candidate.kind == kind
            )
            if self._memories[kind].keep(devices):
                self._kept[kind] = inventory

    def _offer(self, resource: Resource) -> None:
        """Serve and register a resource that has its first devices."""
        config, wake = self._config, threading.Event()
        desk = Desk(resource.name)
        answers = Answers(config.prefix, config.guard, self._check, config.preference)
        also = (desk.handler,) if config.registry else ()
        plugin = DevicePlugin(resource, config.sockets, answers, wake.set, also)
        pod_resources = config.directories.pod_resources / "kubelet.sock"
        elsewhere = Elsewhere(pod_resources, resource.name, self._memories[resource.kind].ids)
        count = Count(pod_resources, resource.name, lambda: plugin.devices)
        kubelet_socket = config.directories.device_plugins / "kubelet.sock"
        loop: Loop
        if config.registry:
            loop = RegistryRegistration(plugin, kubelet_socket, desk, wake, self._fatal, elsewhere, count)
        else:
            loop = Registration(plugin, kubelet_socket, wake, self._fatal, elsewhere, count)
        loop.on_registered = self._keeper.wake
        with self._lock:
            if self._stopped:
                return
            self._offered[resource.kind] = _Offered(plugin, loop, wake)
            loop.start()

    def _withdraw(self, resource: Resource) -> None:
        """End what served a resource whose last device is forgotten."""
        _log.info("%s: no devices any more, no longer registered", resource.name)
        with self._lock:
            one = self._offered.pop(resource.kind)
        one.loop.stop()
        one.plugin.close()
        self._memories[resource.kind].keep(())


def _memory(config: Config, kind: str, name: str, boot: str) -> Memory:
    path = config.directories.device_plugins / pathlib.Path(socket_name(name)).with_suffix(".json")
    return Memory(path, kind, boot)
