"""What touches the world for a plugin: the socket, the threads, the clock. Everything it decides is in `session`.

    runner = Runner(plugin, "/var/run/nri/nri.sock", "labels", "10")
    runner.run()                                            # until stop() is called from another thread

One blocking thread reads and serves. A second one, the watchdog, sleeps until the session's next deadline; when a method of the plugin has
not come back by then it answers for it, and a fresh thread goes on serving. As long as a method hangs, what concerns the plugin is
refused at once and what does not is answered at once. After a lost connection the runner connects again, for ever: within
milliseconds, because a restarted containerd serves pods some 50 ms after it serves plugins.

**Threads.** At any time one thread serves: the one whose turn it is (`_turn`). It alone reads the socket, connects and closes. It loses its
turn only inside a method of the plugin, so it looks at the turn right after each, before it does anything else, and ends when it is over.
The lock is held for the session, the queue and sending, never while the plugin, the log or the socket's other end is waited for,
except that sending may block for a moment when the runtime does not read.
"""

from __future__ import annotations

import logging
import math
import socket
import threading
import time
from typing import TYPE_CHECKING, Final

from nri_cdi.ttrpc import RemoteProtocolError

from . import dispatch
from .connection import Connection, connected, shut
from .plugin import Refused
from .session import RegistrationRefused, Session, Silent, State, Step, Terms
from .versions import forgets_late
from .words import why_lost, why_not_connected

if TYPE_CHECKING:
    from collections.abc import Callable

    from .events import Event
    from .plugin import Plugin
    from .session import Request, Runtime

    Reply = Callable[[Session, float], object]

LOG = logging.getLogger("nri_cdi.nri")

RETRY_FIRST: Final = 0.001
"""Seconds between two tries to connect in the first ten seconds without a connection: on a busy machine each try comes late."""

RETRY: Final = 0.005
"""Seconds between two tries to connect in the first minute."""

RETRY_LATER: Final = 0.015
"""Seconds between two tries after that: still under the time that a starting containerd leaves between NRI and CRI."""

_FAILED_PAUSES: Final = (0.0, 0.01, 0.05, 0.25, 1.0)
"""Seconds to wait after the first, second, ... connection in a row that did not get as far as being synchronized."""

LAST_RESORT: Final = 0.6
"""Seconds behind a deadline after which the process ends if not even the watchdog came to run: still before the runtime gives up."""

_RECEIVE: Final = 1 << 16


class HandshakeFailed(Exception):
    """A step of the handshake was answered with an error; the connection is of no use any more."""


class Runner:
    """See the module. `fatal` is called with a reason when a thread of ours ends by a bug of ours; then `run` returns.

    `last_resort` is told after how many seconds
    the process must end by itself, by means that do not need the interpreter's lock; None: not any more. It is for what no thread of ours
    can see, a C extension that hangs with the lock held, and set only while the plugin is at an event that concerns it.
    """

    def __init__(
        self,
        plugin: Plugin,
        socket_path: str,
        name: str,
        index: str,
        *,
        terms: Terms = Terms(),  # noqa: B008  # frozen
        fatal: Callable[[str], None] | None = None,
        last_resort: Callable[[float | None], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plugin, self._path, self._name, self._index = plugin, socket_path, name, index
        self._terms, self._fatal, self._clock = terms, fatal or LOG.critical, clock
        self._last_resort = last_resort or _no_last_resort
        self._lock = threading.Lock()  # guards sessions, queues, sending, and the four fields below
        self._wake = threading.Condition(self._lock)  # the watchdog waits here
        self._alarm = math.inf  # until when
        self._turn = 0  # of the thread that serves
        self._hung: dict[int, Event | Step] = {}  # turn -> what its thread has not come back from
        self._connection: Connection | None = None  # set and cleared by the thread that serves
        self._stopping = threading.Event()
        self._done = threading.Event()
        self._renewed = False  # the connection before was given up because it came too late
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
        """How many methods of the plugin have not come back in time and hang still."""
        return len(self._hung)

    def run(self) -> None:
        """Serve until `stop`. A method of the plugin that still hangs then is left behind, in a daemon thread."""
        watchdog = threading.Thread(target=self._guarded, args=(self._watch,), name="nri-watchdog", daemon=True)
        watchdog.start()
        self._start_serving()
        self._done.wait()
        with self._lock:
            self._wake.notify_all()
        watchdog.join()

    def stop(self) -> None:
        """End serving: what the runtime has asked already is answered first, in its time. `run` then returns."""
        self._stopping.set()
        if (connection := self._connection) is not None:
            shut(connection, socket.SHUT_RD)  # what is in the socket is still read, then comes the end

    # -- the thread that serves

    def _start_serving(self) -> None:
        threading.Thread(target=self._guarded, args=(self._serve, self._turn), name="nri-serve", daemon=True).start()

    def _guarded(self, work: Callable[..., None], *args: int) -> None:
        try:
            work(*args)
        except BaseException as error:  # whatever it is, a thread does not end in silence
            LOG.exception("a thread of the NRI plugin ended")
            self._fatal(f"a thread of the NRI plugin ended: {type(error).__name__}: {error}")
            self._stopping.set()
            if (connection := self._connection) is not None:
                shut(connection, socket.SHUT_RDWR)
            self._done.set()

    def _serve(self, turn: int) -> None:
        """Connect and serve, again and again; ends when stopped, or when its turn is over."""
        while (connection := self._connection or self._connect()) is not None:
            try:
                if connection.session.state is State.NEW:
                    self._register(connection)
                while self._handle(connection, self._next(connection), turn):
                    pass
            except (OSError, RemoteProtocolError, RegistrationRefused, HandshakeFailed) as error:
                self._lost(connection, error)
            except BaseException:  # a bug of ours: the runtime is to see the end now, not when the process ends
                connection.sock.close()
                raise
            else:
                return
        self._done.set()

    def _next(self, connection: Connection) -> Request:
        """The next request for the plugin. Raises an error when the connection has come to its end."""
        while True:
            with self._lock:
                if connection.queue:
                    connection.current = connection.queue.popleft()
                    return connection.current
            data = connection.sock.recv(_RECEIVE)
            with self._lock:
                if not data:
                    connection.session.eof()
                    raise ConnectionResetError
                connection.queue.extend(connection.session.receive(data, self._clock()))
                self._set_alarm(connection)
                self._send(connection)

    def _handle(self, connection: Connection, request: Request, turn: int) -> bool:
        """Let the plugin decide and answer; False when the watchdog has done it and a fresh thread serves."""
        session, refused = connection.session, None
        try:
            reply = self._decide(request)
        except Refused as error:
            reply, refused = _refusal(request, error), error
        with self._lock:
            if turn != self._turn:
                del self._hung[turn]
                return False
            connection.current = None
            reply(session, self._clock())
            self._set_alarm(connection)
            self._send(connection)
        if isinstance(request.what, Step):
            if refused is not None:
                raise HandshakeFailed(f"{request.what.value} failed: {refused}") from refused
            self._report_synchronized(connection, request.timeout)
        elif isinstance(refused, dispatch.Unexpected):
            LOG.error("%s was refused: %s", request.what.name, refused, exc_info=refused.__cause__)
        return True

    def _decide(self, request: Request) -> Reply:
        """What the plugin says to a request, as a function that tells the session. No lock is held. Raises Refused."""
        plugin, stream = self._plugin, request.stream
        if request.what is Step.CONFIGURE:
            runtime = dispatch.configure(plugin, request)
            return lambda session, now: self._configured(session, stream, runtime, now)
        if request.what is Step.SYNCHRONIZE:
            updates, more = dispatch.synchronize(plugin, request)
            return lambda session, now: session.synchronized(stream, updates, more=more, now=now)
        answer = b""
        if dispatch.concerns(plugin, request):
            if not self._hung:
                self._last_resort(request.deadline - self._clock() + LAST_RESORT)
                try:
                    answer = dispatch.handle(plugin, request)
                finally:
                    self._last_resort(None)
            elif (refused := dispatch.too_late(plugin, request)) is not None:
                raise refused
        return lambda session, _: session.answer(stream, answer)

    def _configured(self, session: Session, stream: int, runtime: Runtime, now: float) -> None:
        session.configured(stream, runtime, now)
        if (connection := self._connection) is not None:
            connection.configured_at = now

    def _send(self, connection: Connection) -> None:
        """Send what the session has to say. Called with the lock held, so that messages do not mix."""
        if data := connection.session.data_to_send():
            connection.sock.sendall(data)

    # -- connecting

    def _connect(self) -> Connection | None:
        """A new connection; None when stopped."""
        pause = _FAILED_PAUSES[min(self._failed, len(_FAILED_PAUSES) - 1)]
        since = self._clock()
        while not self._stopping.wait(pause):
            waited = self._clock() - since  # seconds
            pause = RETRY_FIRST if waited < 10 else RETRY if waited < 60 else RETRY_LATER
            if hung := next((what for what in tuple(self._hung.values()) if isinstance(what, Step)), None):
                self._say(f"the plugin hangs in {hung.value}; connecting again when it comes back")
                continue
            try:
                sock = self._open()
            except OSError as error:
                self._say(why_not_connected(self._path, error))
                continue
            self._failed += 1
            session = Session(self._name, self._index, self._plugin.events, self._terms)
            self._connection = connection = Connection(sock, session)
            if self._stopping.is_set():  # `stop` may have looked before there was a connection
                shut(connection, socket.SHUT_RD)
            return connection
        return None

    def _open(self) -> socket.socket:
        """A socket connected to the runtime. Raises OSError."""
        return connected(self._path)

    def _register(self, connection: Connection) -> None:
        with self._lock:
            connection.session.open(self._clock())
            self._set_alarm(connection)
            self._send(connection)

    def _report_synchronized(self, connection: Connection, timeout: float) -> None:
        session = connection.session
        if session.state is State.READY and session.runtime is not None:
            took = self._clock() - connection.configured_at
            connection.synchronized, self._failed = True, 0
            lost = took > timeout and forgets_late(session.runtime.name, session.runtime.version)
            late, self._renewed = lost and not self._renewed, False
            if late:  # once: a slow runtime looks the same
                self._renewed = True
                raise HandshakeFailed(f"Synchronize took {took:.1f} s, in which the runtime may have given us up")
            runtime = f"{session.runtime.name} {session.runtime.version} (NRI {session.runtime.nri})"
            self._say(f"synchronized with {runtime} as {self._index}-{self._name}")

    def _lost(self, connection: Connection, error: Exception) -> None:
        with self._lock:
            connection.session.close()
            connection.sock.close()
            self._connection = None
        if self._stopping.is_set():
            return
        if isinstance(error, RegistrationRefused):
            self._say(f"the runtime refused to register {self._index}-{self._name}: {error}; trying again")
        elif isinstance(error, HandshakeFailed):
            refused = error.__cause__
            bug = refused.__cause__ if isinstance(refused, dispatch.Unexpected) else None
            self._say(f"{error}; connecting again", bug)
        else:
            why = connection.closed_because or why_lost(error)
            before = "" if connection.synchronized else " before it was synchronized"
            self._say(f"connection to {self._path} lost{before}: {why}; connecting again")

    def _say(self, text: str, bug: BaseException | None = None) -> None:
        """Log a state once; `bug` is what a method of the plugin raised, if that is why."""
        if text == self._said:
            return
        self._said = text
        if bug is None:
            LOG.info("%s", text)
        else:
            LOG.error("%s", text, exc_info=bug)

    # -- the watchdog

    def _set_alarm(self, connection: Connection) -> None:
        """Wake the watchdog if it would sleep too long. Called with the lock held."""
        deadline = connection.session.next_deadline()
        if deadline is not None and deadline < self._alarm:
            self._wake.notify_all()

    def _watch(self) -> None:
        while True:
            with self._lock:
                if self._done.is_set():
                    return
                connection = self._connection
                if connection is None:
                    self._sleep(None)
                    continue
                overdue = self._wait_for_overdue(connection)
            for request in overdue:
                self._give_up(connection, request)

    def _sleep(self, until: float | None) -> None:
        """Wait until then, or for ever, or to be woken. Called with the lock held."""
        self._alarm = math.inf if until is None else until
        timeout = None if until is None else until - self._clock()
        self._wake.wait(timeout)

    def _wait_for_overdue(self, connection: Connection) -> list[Request]:
        """What is overdue now; if nothing is, wait until something may be. Called with the lock held."""
        deadline, now = connection.session.next_deadline(), self._clock()
        if deadline is None or deadline > now:
            self._sleep(deadline)
            return []
        try:
            return connection.session.tick(now)
        except Silent as error:
            connection.closed_because = str(error)
            shut(connection, socket.SHUT_RDWR)
            return []

    def _give_up(self, connection: Connection, request: Request) -> None:
        """Refuse a request that is overdue; if it is the one that the plugin is at, let a fresh thread serve."""
        refused = dispatch.too_late(self._plugin, request)
        with self._lock:
            # else it waits in the queue, or the plugin has answered it meanwhile
            hangs = connection.current is request
            if hangs:
                connection.current = None
                self._hung[self._turn] = request.what
                self._turn += 1
            elif request in connection.queue:
                self._wake.wait(
                    RETRY
                )  # behind one that hung: the fresh thread takes it, and knows whether it concerns us
                return
            self._last_resort(None)
            session, stream = connection.session, request.stream
            if session.refuse(stream, refused.code, refused.message) if refused else session.answer(stream, b""):
                try:
                    self._send(connection)
                except OSError:  # half a message may have gone
                    shut(connection, socket.SHUT_RDWR)
            if not hangs:
                return
            if isinstance(request.what, Step):
                connection.closed_because = f"the plugin did not finish {request.what.value} in time"
                shut(connection, socket.SHUT_RDWR)
            self._start_serving()
        LOG.error("the plugin has not come back from %s in time: refused in its place", request.what.name)


def _no_last_resort(_seconds: float | None) -> None:
    """Where nobody gave one."""


def _refusal(request: Request, refused: Refused) -> Reply:
    return lambda session, _: session.refuse(request.stream, refused.code, refused.message)
