"""A stand-in for the kubelet: it speaks the real device plugin API v1beta1 to a plugin, and keeps the books as the kubelet does.

    with FakeKubelet(directory) as kubelet:
        kubelet.wait_for(lambda: kubelet.allocatable("device.example.com/gpu") == 8, timeout=5)
        ids, response = kubelet.allocate("device.example.com/gpu", 2)
        kubelet.prestart("device.example.com/gpu", ids)

What it does and says follows Kubernetes 1.34 (pkg/kubelet/cm/devicemanager): the texts of refusals and of the pod's events are the kubelet's
and the scheduler's own. It is fit for tests of any device plugin. Nothing in it sleeps: waiting is for changes.
"""

from __future__ import annotations

import pathlib
import re
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Self, TypeVar

import grpc

from nri_cdi.kubelet import api
from nri_cdi.testing.plugin_client import DialError, PluginClient, PluginError, address
from nri_cdi.testing.plugin_watcher import PluginWatcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

SOCKET: Final = "kubelet.sock"
VERSION: Final = "v1beta1"
DIAL_TIMEOUT: Final = 10.0
"""Seconds in which a plugin that registers must accept the kubelet's connection."""
CALL_TIMEOUT: Final = 30.0
"""Seconds for PreStartContainer, as in the kubelet. Allocate and GetPreferredAllocation have no limit there; here it is the same one,
so that a test does not hang."""

_LABEL: Final = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_EXTENDED: Final = re.compile(
    rf"(?=[^/]{{1,244}}/){_LABEL}(?:\.{_LABEL})*/(?=.{{1,63}}\Z)[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?"
)

_T = TypeVar("_T")


class Insufficient(Exception):  # the scheduler's word for it
    """The scheduler finds no node with so many free devices; the pod stays Pending. The message is the event's."""


class UnexpectedAdmissionError(Exception):
    """The pod is Failed for good; the message is the event's."""


class PreStartError(Exception):
    """The container is not started and the kubelet will try again; the message is the event's."""


class Allocated(NamedTuple):
    """The devices of a container, and the plugin's answer for them."""

    ids: tuple[str, ...]
    response: api.ContainerAllocateResponse


@dataclass(frozen=True, slots=True)
class Registered:
    """A Register call: what it asked for, and the text it was refused with (None: accepted)."""

    resource: str
    endpoint: str
    version: str
    refusal: str | None


class _Refused(Exception):  # not an error of this program
    """Register is answered with this text."""


class FakeKubelet:
    """Serves kubelet.sock in `directory` from its construction to `stop`, and watches `registry` (plugins_registry) if it is given.

    All methods may be called from any thread.

    Conditions given to `wait_for` are tried again after each change of what this class knows, so they should read only that.
    """

    def __init__(
        self, directory: str | pathlib.Path, *, registry: pathlib.Path | None = None, dial_timeout: float = DIAL_TIMEOUT
    ) -> None:
        self._directory = pathlib.Path(directory)
        self._registry = registry
        self._watcher: PluginWatcher | None = None
        self._dial_timeout = dial_timeout
        self._changed = threading.Condition(threading.RLock())
        self._admission = threading.Lock()
        self._life = 0
        self._server: grpc.Server | None = None
        self._pools: tuple[ThreadPoolExecutor, ThreadPoolExecutor]
        self._clients: dict[str, PluginClient] = {}
        self._endpoints: dict[str, PluginClient] = {}
        self._open: set[PluginClient] = set()
        self._devices: dict[str, dict[str, bool]] = {}
        self._numa: dict[str, dict[str, tuple[int, ...]]] = {}
        self._in_use: dict[str, set[str]] = {}
        self._registrations: list[Registered] = []
        self._serve()

    def __repr__(self) -> str:
        with self._changed:
            state = ", ".join(f"{r} {self.capacity(r)}/{self.allocatable(r)}" for r in sorted(self._devices))
        return f"<FakeKubelet {self._directory} {state or 'no resources'}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # What the node's status shows.

    @property
    def resources(self) -> tuple[str, ...]:
        """The resources that have been registered, sorted."""
        with self._changed:
            return tuple(sorted(self._devices))

    @property
    def registrations(self) -> tuple[Registered, ...]:
        """All Register calls so far, over restarts."""
        with self._changed:
            return tuple(self._registrations)

    def capacity(self, resource: str) -> int:
        """The devices of a resource, healthy or not; it stays when the plugin dies."""
        with self._changed:
            return len(self._devices.get(resource, {}))

    def allocatable(self, resource: str) -> int:
        """The healthy devices of a resource, in use or not; 0 when the plugin has died."""
        with self._changed:
            return sum(self._devices.get(resource, {}).values())

    def devices(self, resource: str) -> dict[str, bool]:
        """The devices of a resource: id -> whether it is healthy."""
        with self._changed:
            return dict(self._devices.get(resource, {}))

    def numa_nodes(self, resource: str) -> dict[str, tuple[int, ...]]:
        """The NUMA nodes of the devices of a resource, by id; empty for a device without topology."""
        with self._changed:
            return dict(self._numa.get(resource, {}))

    def in_use(self, resource: str) -> frozenset[str]:
        """The devices that are allocated."""
        with self._changed:
            return frozenset(self._in_use.get(resource, ()))

    def streams(self, resource: str) -> int:
        """The open ListAndWatch streams of a resource."""
        with self._changed:
            return sum(endpoint.resource == resource for endpoint in self._open)

    def connection(self, resource: str) -> PluginClient:
        """The connection to the plugin of a resource, for calls out of turn. Raises KeyError if none is registered."""
        with self._changed:
            return self._endpoints[resource]

    def wait_for(self, condition: Callable[[], _T], timeout: float) -> _T:
        """Wait until `condition()` is true and return what it gave. Raises TimeoutError after `timeout` seconds."""
        with self._changed:
            result = self._changed.wait_for(condition, timeout)
            if not result:
                raise TimeoutError(f"not within {timeout} s; {self!r}, registrations: {self.registrations}")
            return result

    # What a pod's way through the node makes the kubelet do.

    def allocate(self, resource: str, count: int) -> Allocated:
        """Schedule and admit a container with `count` devices, at least one: the plugin's preference if it offers one, then Allocate.

        Raises Insufficient where the scheduler would find no room, UnexpectedAdmissionError where the kubelet would fail the pod. Ids are
        handed to the plugin unsorted, as the kubelet does. As there, admission is one at a time.
        """
        with self._admission:
            with self._changed:
                taken = self._in_use.setdefault(resource, set())
                if count > self.allocatable(resource) - len(taken):
                    raise Insufficient(f"0/1 nodes are available: 1 Insufficient {resource}.")
                free = {device for device, well in self._devices[resource].items() if well} - taken
                endpoint = self._endpoints[resource]
            ids = self._chosen(endpoint, free, count)
            try:
                answer = endpoint.allocate(ids, CALL_TIMEOUT)
            except PluginError as error:
                raise UnexpectedAdmissionError(_unexpected(str(error))) from None
            with self._changed:
                taken |= ids
                self._changed.notify_all()
        return Allocated(tuple(sorted(ids)), answer)

    def free(self, resource: str, ids: Iterable[str]) -> None:
        """The pod that had these devices is gone. The plugin is not told, as it is not by the kubelet."""
        with self._changed:
            self._in_use.get(resource, set()).difference_update(ids)
            self._changed.notify_all()

    def prestart(self, resource: str, ids: Iterable[str]) -> None:
        """Before each start of a container with these devices: PreStartContainer, if the plugin asked for it.

        Raises PreStartError where the kubelet would report and try again. After a restart, until the plugin has registered again, the kubelet
        does not call it and starts the container: so does this.
        """
        with self._changed:
            endpoint = self._endpoints.get(resource)
        if endpoint is None or not endpoint.options.pre_start_required:
            return
        failed = "device plugin PreStartContainer rpc failed with err: "
        if endpoint.stopped:
            raise PreStartError(f"{failed}endpoint {resource} has been stopped")
        try:
            endpoint.pre_start(set(ids), CALL_TIMEOUT)
        except PluginError as error:
            raise PreStartError(f"{failed}{error}") from None

    # Its own life.

    def restart(self) -> None:
        """What a kubelet does that starts on a used node: it deletes all sockets of the directory and makes kubelet.sock anew.

        Registrations are forgotten and resources have no devices until they are registered again; devices in use stay so.
        Works after `stop` as well.
        """
        self.stop()
        for path in self._directory.iterdir():
            if stat.S_ISSOCK(path.lstat().st_mode):
                path.unlink()
        with self._changed:
            self._clients, self._endpoints = {}, {}
            self._devices = {resource: {} for resource in self._devices}
        self._serve()

    def stop(self) -> None:
        """End as a kubelet does: all connections close at once, all sockets stay where they are."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher = None
        with self._changed:
            server, self._server = self._server, None
            self._clients = {}
            connections = [*self._open, *self._endpoints.values()]
            for endpoint in self._endpoints.values():
                endpoint.stopped = True
        if server is None:
            return
        over = server.stop(0)
        for endpoint in connections:
            endpoint.close()
        over.wait()
        calls, lists = self._pools
        calls.shutdown(wait=False)
        lists.shutdown()

    def _serve(self) -> None:
        calls = ThreadPoolExecutor(8, thread_name_prefix="fake kubelet")
        lists = ThreadPoolExecutor(64, thread_name_prefix="fake kubelet list")
        server = grpc.server(calls)
        handler = grpc.unary_unary_rpc_method_handler(
            self._register, api.RegisterRequest.FromString, api.Empty.SerializeToString
        )
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("v1beta1.Registration", {"Register": handler}),)
        )
        # Bound under another name: gRPC removes the name it bound at its end, the kubelet leaves kubelet.sock.
        draft = self._directory / ".kubelet"
        server.add_insecure_port(address(draft))
        with self._changed:
            self._life += 1
            self._server = server
            self._pools = (calls, lists)
        server.start()
        draft.rename(self._directory / SOCKET)
        if self._registry is not None:
            self._watcher = PluginWatcher(
                self._registry, lambda resource, path: self._admit(resource, path, VERSION), self._dismiss
            )

    def _register(self, request: api.RegisterRequest, context: grpc.ServicerContext) -> api.Empty:
        refusal = self._admit(request.resource_name, self._directory / request.endpoint, request.version)
        if refusal is not None:
            context.abort(grpc.StatusCode.UNKNOWN, refusal)
        return api.Empty()

    def _admit(self, resource: str, path: pathlib.Path, version: str) -> str | None:
        """Take a plugin that was announced, either way; or the text that it is refused with."""
        life = self._life
        endpoint, refusal = None, None
        try:
            endpoint = self._connect(resource, path, version)
        except _Refused as error:
            refusal = str(error)
        with self._changed:
            self._registrations.append(Registered(resource, path.name, version, refusal))
            if endpoint is not None:
                if self._server is not None and self._life == life:
                    self._endpoints[endpoint.resource] = endpoint
                    self._devices.setdefault(endpoint.resource, {})
                    self._open.add(endpoint)
                    self._pools[1].submit(self._list, endpoint)
                else:  # this kubelet ended meanwhile
                    endpoint.close()
            self._changed.notify_all()
        return refusal

    def _dismiss(self, resource: str) -> None:
        """The socket of a plugin is gone from plugins_registry: its connection is closed."""
        with self._changed:
            client = self._clients.get(resource)
        if client is not None:
            client.close()

    def _connect(self, resource: str, path: pathlib.Path, version: str) -> PluginClient:
        """Check, dial, ask for the options: all within Register, and only the options asked for count."""
        if version != VERSION:
            raise _Refused(
                f'requested API version "{version}" is not supported by kubelet. Supported version is ["{VERSION}"]'
            )
        if not is_extended(resource):
            raise _Refused(f'the ResourceName "{resource}" is invalid')
        with self._changed:
            before = self._clients.get(resource)
        try:
            client = PluginClient.dial(resource, path, self._dial_timeout)
        except DialError as error:
            # From here on nobody notices the end of an older connection of the resource: so it is in the kubelet.
            with self._changed:
                if self._clients.get(resource) is before:
                    self._clients.pop(resource, None)
            raise _Refused(f"failed to dial device plugin: {error}") from None
        with self._changed:
            self._clients[resource] = client
        return client

    def _list(self, endpoint: PluginClient) -> None:
        """Follow a plugin's ListAndWatch to its end, which ends the resource's newest connection, whichever that is."""
        for devices in endpoint.lists():
            with self._changed:
                if self._server is not None:
                    self._devices[endpoint.resource] = {one.ID: one.health == "Healthy" for one in devices}
                    self._numa[endpoint.resource] = {
                        one.ID: tuple(node.ID for node in one.topology.nodes) for one in devices
                    }
                    self._changed.notify_all()
        with self._changed:
            self._open.discard(endpoint)
            newest = self._clients.pop(endpoint.resource, None)
            if newest is not None:
                newest.stopped = True
                self._devices[endpoint.resource] = dict.fromkeys(self._devices[endpoint.resource], False)
            self._changed.notify_all()
        endpoint.close()
        if newest is not None:
            newest.close()

    def _chosen(self, endpoint: PluginClient, free: set[str], count: int) -> set[str]:
        """The ids for a container: the plugin's preference is a hint, filled up and cut down where it does not fit.

        The kubelet's own choice is random. Here it is the end of the alphabet: the same at each run, and nobody's preference.
        """
        available = sorted(free, reverse=True)
        hint: list[str] = []
        if endpoint.options.get_preferred_allocation_available:
            try:
                hint = [device for device in endpoint.preferred(available, count, CALL_TIMEOUT) if device in free]
            except PluginError as error:
                text = f"device plugin GetPreferredAllocation rpc failed with err: {error}"
                raise UnexpectedAdmissionError(_unexpected(text)) from None
        return set(list(dict.fromkeys([*hint, *available]))[:count])


def is_extended(name: str) -> bool:
    """Whether Kubernetes takes a name for that of an extended resource (pkg/apis/core/v1/helper)."""
    return "kubernetes.io/" not in name and not name.startswith("requests.") and bool(_EXTENDED.fullmatch(name))


def _unexpected(text: str) -> str:
    """The admission error's frame around what went wrong."""
    return f"Allocate failed due to {text}, which is unexpected"
