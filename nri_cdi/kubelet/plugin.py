"""One resource, served to the kubelet on one unix socket: the device plugin API v1beta1 (k8s.io/kubelet/pkg/apis/deviceplugin).

The rules of this file: Allocate and GetPreferredAllocation answer from memory, never wait and never fail, because their error ends the pod and
their waiting stops the admission of every other pod of the node; what is wrong is said by PreStartContainer, whose error the
kubelet shows and tries again. The socket is at its path only while somebody accepts on it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

import grpc

from nri_cdi.kubelet import api
from nri_cdi.kubelet.allocate import allocate, qualified_names, to_response
from nri_cdi.kubelet.checks import CHECKS, Checks, Unchecked
from nri_cdi.kubelet.listing import Listing
from nri_cdi.kubelet.preferred import Preference, preferred
from nri_cdi.kubelet.sockets import connect_problem, socket_name
from nri_cdi.kubelet.standing import Own, Streams
from nri_cdi.kubelet.streams import DeviceStreams

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Mapping

    from nri_cdi.kubelet.told import Resource

Ready: TypeAlias = Callable[[tuple[str, ...]], str | None]
"""Qualified names -> None if the NRI half is connected and they resolve, else the sentence for the person. Has its own timeout."""

VERSION: Final = "v1beta1"
"""The device plugin API's version, as the kubelet is told it."""

SOCKET_PATH_MAX: Final = 107
"""Bytes of a unix socket's path: 108 in Linux's sockaddr_un, with a zero at the end."""

THREADS: Final = CHECKS + 8
"""Threads at most, each started when it is first needed: checks that all hang leave four to ListAndWatch, which holds one for each stream
(one at most times, a second after a registration that was repeated), and four to what must not wait."""

SENTENCE_MAX: Final = 2000
"""Bytes of a refusal. It travels in an HTTP/2 header, where a byte that is not ASCII takes three, and many readers take no more than 8 KiB of these."""

_STOP_GRACE: Final = 0.2
"""Seconds that calls under way get when a server stops."""

_log = logging.getLogger("nri_cdi.kubelet")


class CannotServe(Exception):
    """The plugin's socket cannot be served; the message says where, why and what to do."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What all plugins of a process answer alike: the annotation prefix, whether allocations are guarded, who is asked before a start, and
    how devices are preferred.
    """

    prefix: str
    guard: bool
    ready: Ready
    preference: Preference = Preference.PACKED


@dataclass(eq=False, slots=True)
class _Listener:
    """A gRPC server, the socket it listens on (device and inode), and the streams that were opened through it."""

    server: grpc.Server
    pool: ThreadPoolExecutor
    file: tuple[int, int]
    streams: set[int] = field(default_factory=set)
    """Those that have not ended."""


class DevicePlugin:
    """The device plugin of one resource: nothing is served before `bind`.

    `on_stream_end` is called, from a thread of gRPC's, whenever a ListAndWatch stream has ended. `also` is served on the same socket.
    """

    def __init__(
        self,
        resource: Resource,
        directory: pathlib.Path,
        answers: Answers,
        on_stream_end: Callable[[], None],
        also: Iterable[grpc.GenericRpcHandler] = (),
    ) -> None:
        self._name = resource.name
        self._kind = resource.kind
        self._directory = directory
        self._path = directory / socket_name(resource.name)
        check_length(self._path)
        self._answers = answers
        self._also = tuple(also)
        self._listing = Listing.of(resource)
        self._streams = DeviceStreams(self._listing.message, on_stream_end)
        self._checks = Checks()
        self._listener: _Listener | None = None
        self._retired: list[_Listener] = []

    def __repr__(self) -> str:
        return f"<DevicePlugin {self._name} {self._path} {self.streams.open} streams>"

    @property
    def name(self) -> str:
        """The resource's name."""
        return self._name

    @property
    def path(self) -> pathlib.Path:
        """Where the socket is; its file name is the endpoint that the kubelet is told."""
        return self._path

    @property
    def streams(self) -> Streams:
        """The ListAndWatch streams so far."""
        return self._streams.counts

    def update(self, resource: Resource) -> None:
        """Tell the kubelet a new list of devices."""
        if resource is not self._listing.resource:
            self._listing = Listing.of(resource, self._listing)
            self._streams.update(self._listing.message)

    def hold(self, *, held: bool) -> None:
        """Whether the kubelet is told no new list for now; the newest one follows when it is over."""
        self._streams.hold(held=held)

    @property
    def devices(self) -> Mapping[str, bool]:
        """The ids in the list, and whether each is healthy."""
        return {device.id: device.healthy for device in self._listing.resource.devices}

    def own(self) -> Own:
        """What is at the path of our socket now. Raises OSError when that cannot be seen."""
        try:
            found = self._path.lstat()
        except FileNotFoundError:
            return Own.GONE if self._directory.is_dir() else Own.NO_DIRECTORY
        except NotADirectoryError:
            return Own.NO_DIRECTORY
        if self._listener is not None and (found.st_dev, found.st_ino) == self._listener.file:
            return Own.OURS
        return Own.TAKEN if connect_problem(self._path) is None else Own.GONE

    def bind(self) -> None:
        """Serve on a new socket and put it at the path, in the place of whatever is there. Raises CannotServe.

        It is bound under another name and renamed when it accepts: at no moment is there a path that nobody serves, and the
        end of an older server, which removes the name it was bound to, cannot remove a newer one's socket.
        """
        draft = self._directory / f".nri-cdi.{secrets.token_hex(4)}"
        check_length(draft)
        pool = ThreadPoolExecutor(THREADS, thread_name_prefix=f"kubelet {self._name}")
        listener = _Listener(grpc.server(pool), pool, (0, 0))
        listener.server.add_generic_rpc_handlers((self._handlers(listener.streams), *self._also))
        try:
            _listen(listener, draft)
            draft.rename(self._path)
        except (OSError, RuntimeError) as error:
            _stop(listener)
            # the text of gRPC has the other name, which is another one each time
            what = error.strerror if isinstance(error, OSError) else str(error).replace(draft.name, self._path.name)
            raise CannotServe(f"cannot serve on {self._path}: {what}") from error
        # A server with a stream that is still open stays: the kubelet calls Allocate over that connection.
        retired = [*self._retired, *([self._listener] if self._listener else [])]
        self._listener = listener
        self._retired = [old for old in retired if old.streams]
        for old in retired:
            if old not in self._retired:
                _stop(old)

    def close(self) -> None:
        """End all streams, stop serving, and remove the socket if it is still ours. Takes less than a second."""
        self._streams.close()
        with contextlib.suppress(OSError):  # what cannot be seen or removed now is left: the next instance replaces it
            if self.own() is Own.OURS:
                self._path.unlink()
        for listener in (*self._retired, *([self._listener] if self._listener else [])):
            _stop(listener)
        self._retired, self._listener = [], None

    def _handlers(self, streams: set[int]) -> grpc.GenericRpcHandler:
        """What a server calls; `streams` has those that were opened through it. They do not know the server: nothing would free that cycle (see
        `keeper`).
        """

        def list_and_watch(_: api.Empty, context: grpc.ServicerContext) -> Iterator[bytes]:
            return self._list_and_watch(streams, context)

        return grpc.method_handlers_generic_handler(
            f"{VERSION}.DevicePlugin",
            {
                "GetDevicePluginOptions": grpc.unary_unary_rpc_method_handler(
                    self._options, api.Empty.FromString, api.DevicePluginOptions.SerializeToString
                ),
                "ListAndWatch": grpc.unary_stream_rpc_method_handler(list_and_watch, api.Empty.FromString, bytes),
                "GetPreferredAllocation": grpc.unary_unary_rpc_method_handler(
                    self._preferred,
                    api.PreferredAllocationRequest.FromString,
                    api.PreferredAllocationResponse.SerializeToString,
                ),
                "Allocate": grpc.unary_unary_rpc_method_handler(
                    self._allocate, api.AllocateRequest.FromString, api.AllocateResponse.SerializeToString
                ),
                "PreStartContainer": grpc.unary_unary_rpc_method_handler(
                    self._pre_start,
                    api.PreStartContainerRequest.FromString,
                    api.PreStartContainerResponse.SerializeToString,
                ),
            },
        )

    def _options(self, _request: api.Empty, _context: grpc.ServicerContext) -> api.DevicePluginOptions:
        return options()

    def _list_and_watch(self, streams: set[int], context: grpc.ServicerContext) -> Iterator[bytes]:
        stream = self._streams.open()
        streams.add(stream)

        def end() -> None:
            streams.discard(stream)
            self._streams.end(stream)

        if not context.add_callback(end):
            end()
        yield from self._streams.follow(stream)

    def _preferred(
        self, request: api.PreferredAllocationRequest, _context: grpc.ServicerContext
    ) -> api.PreferredAllocationResponse:
        listing = self._listing
        return api.PreferredAllocationResponse(
            container_responses=[
                api.ContainerPreferredAllocationResponse(
                    deviceIDs=preferred(
                        asked.available_deviceIDs,
                        asked.must_include_deviceIDs,
                        asked.allocation_size,
                        listing.places,
                        self._answers.preference,
                        listing.order,
                    )
                )
                for asked in request.container_requests
            ]
        )

    def _allocate(self, request: api.AllocateRequest, _context: grpc.ServicerContext) -> api.AllocateResponse:
        answers = self._answers
        allocations = [
            allocate(
                asked.devices_ids,
                self._kind,
                prefix=answers.prefix,
                random_id=secrets.token_bytes(16),
                guard=answers.guard,
            )
            for asked in request.container_requests
        ]
        return api.AllocateResponse(container_responses=map(to_response, allocations))

    def _pre_start(
        self, request: api.PreStartContainerRequest, context: grpc.ServicerContext
    ) -> api.PreStartContainerResponse:
        names = qualified_names(request.devices_ids, self._kind)
        try:
            with self._checks.of(names):
                problem = self._problem(names)
        except Unchecked as error:
            context.abort(grpc.StatusCode.UNAVAILABLE, _cut(str(error)))
        if problem is not None:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, _cut(problem))
        return api.PreStartContainerResponse()

    def _problem(self, names: tuple[str, ...]) -> str | None:
        """Why a container with these devices may not start now, or None."""
        try:
            return self._answers.ready(names)
        except Exception as error:  # noqa: BLE001  # whatever it is, it becomes the sentence that the kubelet shows
            _log.exception("%s: the check before a container's start failed", self._name)
            return f"nri-cdi could not check the devices {', '.join(names)}: {type(error).__name__}: {error}"


def _cut(sentence: str) -> str:
    """As much of it as a refusal can have."""
    return sentence.encode(errors="replace")[:SENTENCE_MAX].decode(errors="ignore")


def options() -> api.DevicePluginOptions:
    """What the kubelet is asked to call: all of it."""
    return api.DevicePluginOptions(pre_start_required=True, get_preferred_allocation_available=True)


def grpc_address(path: pathlib.Path) -> str:
    """The address of a unix socket as gRPC takes it: a URI, in which `%`, `#`, `?` and blanks are escaped."""
    return "unix://" + urllib.parse.quote(str(path.absolute()))


def check_length(path: pathlib.Path) -> None:
    """Raises CannotServe for a path that no unix socket can have."""
    length = len(os.fsencode(path))
    if length > SOCKET_PATH_MAX:
        raise CannotServe(
            f"{path} has {length} bytes, a unix socket's path has at most {SOCKET_PATH_MAX}: "
            "name the resource shorter, --resource KIND=SHORTER-NAME, or choose a shorter --kubelet-dir"
        )


def _listen(listener: _Listener, path: pathlib.Path) -> None:
    """Start the server on a socket at `path` and note which file that is. Raises OSError or RuntimeError."""
    _try_to_bind(path)
    listener.server.add_insecure_port(grpc_address(path))
    listener.server.start()
    if problem := connect_problem(path):
        raise RuntimeError(f"nobody accepts connections on the new socket: {problem}")
    made = path.lstat()
    listener.file = (made.st_dev, made.st_ino)


def _try_to_bind(path: pathlib.Path) -> None:
    """Raises the OSError that says why a socket cannot be bound there: gRPC's own error does not."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.bind(os.fsencode(path))
    path.unlink()


def _stop(listener: _Listener) -> None:
    """Stop a server and let its threads go."""
    listener.server.stop(_STOP_GRACE).wait(2 * _STOP_GRACE)
    listener.pool.shutdown(wait=False, cancel_futures=True)
