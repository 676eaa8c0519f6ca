"""What touches the world for a plugin: the socket, the threads, the clock. Everything it decides is in `session`.

    runner = Runner(plugin, "/var/run/nri/nri.sock", "labels", "10")
    runner.run()                                            # until stop() is called from another thread

One blocking thread reads and serves. A second one, the watchdog, sleeps until the session's next deadline; when a handler has not come
back by then it answers for it, and a fresh thread goes on serving. As long as handlers hang, what concerns the plugin is
refused at once and what does not is answered at once. After a lost connection the runner connects again, for ever: within
milliseconds, because a restarted containerd serves pods some 50 ms after it serves plugins.
"""

from __future__ import annotations

import logging
import socket
import struct
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError

from nri_cdi.ttrpc import Code, ProtocolError

from . import api
from .dispatch import handle
from .events import Event
from .plugin import Plugin, Refused
from .session import RegistrationRefused, Request, Session, Silent, State, Step, runtime_of

if TYPE_CHECKING:
    from collections.abc import Callable

LOG = logging.getLogger("nri_cdi.nri")

RETRY: Final = 0.005
"""Seconds between two tries to connect in the first minute without a connection."""

RETRY_LATER: Final = 0.015
"""Seconds between two tries after that: still under the time that a starting containerd leaves between NRI and CRI."""

_FAILED_PAUSES: Final = (0.0, 0.01, 0.05, 0.25, 1.0)
"""Seconds to wait after the first, second, ... connection in a row that did not get as far as being synchronized."""

_RECEIVE: Final = 1 << 16
_SEND_TIMEOUT: Final = struct.pack("ll", 2, 0)  # a timeval, 2 s: a runtime that does not read any more is gone


class _Connection:
    """A connected socket, its session, and what has been received but not handled yet."""

    def __init__(self, sock: socket.socket, session: Session) -> None:
        self.sock, self.session = sock, session
        self.queue: deque[Request] = deque()


class Runner:
    """See the module. `fatal` is called with a reason when a thread of ours ends by a bug of ours."""

    def __init__(
        self,
        plugin: Plugin,
        socket_path: str,
        name: str,
        index: str,
        *,
        failure_policy: api.FailurePolicy | None = None,
        fatal: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plugin, self._path, self._name, self._index = plugin, socket_path, name, index
        self._failure_policy, self._fatal, self._clock = failure_policy, fatal or LOG.critical, clock
        self._lock = threading.Lock()  # guards the session, the queue, sending, and the fields below
        self._wake = threading.Condition(self._lock)  # the watchdog waits here
        self._connection: _Connection | None = None
        self._generation = 0  # of the serving thread: a thread of an older one ends when its handler comes back
        self._stuck = 0  # handlers that have not come back in time, and not since
        self._idle = True  # the watchdog waits without a timeout
        self._stopping = threading.Event()
        self._done = threading.Event()
        self._failed = 0  # connections in a row that were never synchronized
        self._said = ""  # the state that was logged last

    def __repr__(self) -> str:
        connection = self._connection
        return (
            f"<Runner {self._index}-{self._name} {connection.session.state.value if connection else 'not connected'}>"
        )

    @property
    def synchronized(self) -> bool:
        """Whether the runtime counts on us now: registered, configured and synchronized."""
        connection = self._connection
        return connection is not None and connection.session.state is State.READY

    @property
    def standing(self) -> str:
        """How the connection stands, in the words of the log line that said so."""
        return self._said or "not connected yet"

    @property
    def stuck(self) -> int:
        """How many handlers have not come back in time and hang still."""
        return self._stuck

    def run(self) -> None:
        """Serve until `stop`."""
        watchdog = threading.Thread(target=self._guarded, args=(self._watch,), name="nri-watchdog", daemon=True)
        watchdog.start()
        self._guarded(self._serve, self._generation)
        self._done.wait()
        with self._lock:
            self._wake.notify_all()
        watchdog.join()

    def stop(self) -> None:
        """End serving: what is being handled is answered first. `run` then returns."""
        self._stopping.set()
        with self._lock:
            if self._connection is not None and not self._connection.queue and not self._connection.session.waiting:
                self._close(self._connection)

    # -- the serving thread

    def _guarded(self, work: Callable[..., None], *args: int) -> None:
        try:
            work(*args)
        except BaseException as error:
            LOG.exception("a thread of the NRI plugin ended")
            self._fatal(f"a thread of the NRI plugin ended: {type(error).__name__}: {error}")
            raise

    def _serve(self, generation: int) -> None:
        """Connect and serve, again and again; ends when stopped or when a fresh thread has taken over."""
        while True:
            connection = self._connection
            if connection is None:
                connection = self._connect()
                if connection is None:
                    self._done.set()
                    return
            try:
                if not self._serve_connection(connection, generation):
                    return
            except (OSError, ProtocolError, DecodeError, RegistrationRefused) as error:
                self._lost(connection, error)

    def _serve_connection(self, connection: _Connection, generation: int) -> bool:
        """Serve one connection to its end; False when a fresh thread has taken over."""
        session = connection.session
        while True:
            while connection.queue:
                self._handle(connection, connection.queue.popleft())
                if generation != self._generation:
                    with self._lock:
                        self._stuck -= 1
                    return False
            if self._stopping.is_set():
                raise ConnectionAbortedError("stopped")
            data = connection.sock.recv(_RECEIVE)
            if not data:
                session.eof()
                raise ConnectionResetError("the runtime closed the connection")
            with self._lock:
                connection.queue.extend(session.receive(data, self._clock()))
                if self._idle and session.next_deadline() is not None:
                    self._wake.notify_all()
                self._send(connection)

    def _handle(self, connection: _Connection, request: Request) -> None:
        session, plugin = connection.session, self._plugin
        if isinstance(request.what, Step):
            self._handshake(connection, request)
            return
        answer, refused = b"", None
        if plugin.concerns(request.what, request.payload, state_change=request.state_change):
            try:
                if self._stuck:
                    raise plugin.overdue(request.what, request.payload)
                answer = handle(plugin, request)
            except Refused as error:
                refused = error
        with self._lock:
            if refused is None:
                session.answer(request.stream, answer)
            else:
                session.refuse(request.stream, refused.code, refused.message)
            self._send(connection)

    def _handshake(self, connection: _Connection, request: Request) -> None:
        session = connection.session
        if request.what is Step.CONFIGURE:
            runtime = runtime_of(api.ConfigureRequest.FromString(request.payload))
            self._plugin.configure(runtime)
            with self._lock:
                session.configured(request.stream, runtime, self._clock())
                self._send(connection)
            return
        part = api.SynchronizeRequest.FromString(request.payload)
        updates = self._plugin.synchronize(part.pods, part.containers, more=part.more)
        with self._lock:
            session.synchronized(request.stream, updates, more=part.more, now=self._clock())
            self._send(connection)
        if session.state is State.READY and session.runtime is not None:
            self._failed = 0
            self._say(
                f"synchronized with {session.runtime.name} {session.runtime.version} (NRI {session.runtime.nri}) as {self._index}-{self._name}"
            )

    def _send(self, connection: _Connection) -> None:
        """Send what the session has to say. Called with the lock held, so that messages do not mix."""
        if data := connection.session.data_to_send():
            connection.sock.sendall(data)

    # -- connecting

    def _connect(self) -> _Connection | None:
        """A connection with our registration sent; None when stopped."""
        pause = _FAILED_PAUSES[min(self._failed, len(_FAILED_PAUSES) - 1)]
        since = self._clock()
        while not self._stopping.wait(pause):
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.connect(self._path)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _SEND_TIMEOUT)
                session = Session(self._name, self._index, self._plugin.events, failure_policy=self._failure_policy)
                connection = _Connection(sock, session)
                with self._lock:
                    session.open(self._clock())
                    self._send(connection)
                    self._connection = connection
                    self._wake.notify_all()
            except OSError as error:
                sock.close()
                self._say(_why_not(self._path, error))
                pause = RETRY if self._clock() - since < 60 else RETRY_LATER  # seconds
            else:
                self._failed += 1
                return connection
        return None

    def _lost(self, connection: _Connection, error: Exception) -> None:
        with self._lock:
            synchronized = connection.session.state is State.READY
            connection.session.state = State.CLOSED
            connection.sock.close()
            if self._connection is connection:
                self._connection = None
        if isinstance(error, RegistrationRefused):
            self._say(f"the runtime refused to register {self._index}-{self._name}: {error}; trying again")
        elif not self._stopping.is_set():
            self._say(
                f"connection to {self._path} lost{'' if synchronized else ' before it was synchronized'}: {error}; connecting again"
            )

    @staticmethod
    def _close(connection: _Connection) -> None:
        """Make the serving thread see the end of the connection."""
        try:
            connection.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            LOG.debug("the connection was closed already")

    def _say(self, text: str) -> None:
        """Log a state once."""
        if text != self._said:
            self._said = text
            LOG.info("%s", text)

    # -- the watchdog

    def _watch(self) -> None:
        with self._lock:
            while not self._done.is_set():
                connection = self._connection
                deadline = connection.session.next_deadline() if connection is not None else None
                now = self._clock()
                if connection is None or deadline is None:
                    self._idle = True
                    self._wake.wait()
                    self._idle = False
                elif deadline > now:
                    # nobody wakes us for a request that comes while we sleep: it waits that much longer at most
                    self._wake.wait(min(deadline - now, connection.session.patience / 4))
                else:
                    self._overdue(connection, now)

    def _overdue(self, connection: _Connection, now: float) -> None:
        """Answer for handlers that hang, and let a fresh thread serve. Called with the lock held."""
        session = connection.session
        try:
            overdue = session.tick(now)
        except Silent as error:
            self._say(f"{error}; connecting again")
            self._close(connection)
            return
        hung = [request for request in overdue if request not in connection.queue]  # the others wait behind it
        for request in hung:
            if isinstance(request.what, Event):
                refused = self._plugin.overdue(request.what, request.payload)
                session.refuse(request.stream, refused.code, refused.message)
            else:
                session.refuse(request.stream, Code.DEADLINE_EXCEEDED, "the plugin is not ready")
            LOG.error("the handler of %s has not come back in time: refused in its place", request.what.name)
        if not hung:
            self._wake.wait(session.patience / 4)
            return
        try:
            self._send(connection)
        except OSError:
            LOG.debug("the runtime is gone; the serving thread will see it")
        self._stuck += 1
        self._generation += 1
        fresh = threading.Thread(
            target=self._guarded, args=(self._serve, self._generation), name="nri-serve", daemon=True
        )
        fresh.start()


def _why_not(path: str, error: OSError) -> str:
    """Why there is no connection, for a person."""
    if isinstance(error, FileNotFoundError):
        return f"waiting for the NRI socket {path}: it is not there (is the runtime running, and NRI enabled in its configuration?)"
    if isinstance(error, ConnectionRefusedError):
        return f"waiting for the NRI socket {path}: nobody listens (the runtime is down or restarting)"
    if isinstance(error, PermissionError):
        return f"waiting for the NRI socket {path}: not permitted (it takes root)"
    return f"waiting for the NRI socket {path}: {error}"
