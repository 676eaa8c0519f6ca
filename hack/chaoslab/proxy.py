"""A proxy on the NRI socket, between the runtime and the agent, that cuts, holds or garbles one chosen message.

It forwards message by message, so that a cut falls on a step of the protocol and not on a time: before, in the middle of or behind the K-th byte of, say,
the answer to CreateContainer. The wire is NRI's: frames of the multiplexer (connection u32, length u32), in them ttrpc messages
(length u32, stream u32, type u8, flags u8). Parsed here by itself, so that it does not share a bug with what it tests.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from nri_cdi.ttrpc.messages import decode_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CONNECT: Final = "connect"
"""The step before the first message."""

_FRAME: Final = struct.Struct(">II")
_MESSAGE: Final = struct.Struct(">IIBB")
_REQUEST: Final = 1
_START_CONTAINER: Final = b"\x08\x06"  # how a StateChange for it begins


@dataclass(frozen=True, slots=True)
class Cut:
    """What to do to one message: the first one of `step` (a method, or `CONNECT`) from now on, the request or the answer.

    `how`: `cut N` closes both sides after N percent of its bytes; `hold` keeps it, and all behind it, until one side gives up; `garble N` flips a byte at N
    percent (0 is the multiplexer's header); `freeze` calls `Proxy.freeze`, then forwards it.
    """

    step: str
    answer: bool
    how: str

    def __str__(self) -> str:
        what = "" if self.step == CONNECT else " answer" if self.answer else " request"
        return f"{self.step}{what}: {self.how}"


@dataclass(frozen=True, slots=True)
class Passing:
    """A whole message as it passes: its bytes, frames and all."""

    step: str
    answer: bool
    raw: bytes


@dataclass(slots=True)
class _Pair:
    """One connection of the agent and the proxy's own to the runtime, and which call has which method."""

    agent: socket.socket
    runtime: socket.socket
    methods: dict[tuple[int, int], str] = field(default_factory=dict)
    directions: int = 2
    """How many of the two are still served."""

    def close(self) -> None:
        """End both sides."""
        for sock in (self.agent, self.runtime):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Give back both sockets; when nobody reads them any more."""
        self.agent.close()
        self.runtime.close()


class Proxy:
    """Listens at `path` and forwards to `upstream`; both are paths as seen from here. `freeze` stops the agent and has it go on later."""

    def __init__(self, path: Path, upstream: Path, freeze: Callable[[], None]) -> None:
        self._freeze = freeze
        path.parent.mkdir(parents=True, exist_ok=True)
        self._upstream = upstream
        self._lock = threading.Lock()
        self._cut: Cut | None = None
        self._pairs: list[_Pair] = []
        self._latest: _Pair | None = None  # that has been synchronised
        self.fired = threading.Event()
        """Set when the armed cut has been made."""
        self.synchronized = threading.Event()
        """Set while a connection stands that has got as far as the answer to Synchronize."""
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def arm(self, cut: Cut) -> None:
        """Make this cut at the next chance."""
        with self._lock:
            self.fired.clear()
            self._cut = cut

    def disarm(self) -> None:
        """Forget a cut that has not been made."""
        with self._lock:
            self._cut = None

    def drop(self) -> None:
        """Close all connections: the agent connects again."""
        self.synchronized.clear()
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            pair.close()

    def close(self) -> None:
        """End everything."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()

    def _take(self, step: str, *, answer: bool) -> Cut | None:
        """The armed cut, if it is for this message; it is made once."""
        with self._lock:
            cut = self._cut
            if cut is None or (cut.step, cut.answer) != (step, answer):
                return None
            self._cut = None
            self.fired.set()
            return cut

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                agent, _ = self._listener.accept()
                runtime = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                pair = _Pair(agent, runtime)
                cut = self._take(CONNECT, answer=False)
                try:
                    runtime.connect(str(self._upstream))
                except OSError:
                    pair.release()
                    continue
                if cut is not None and cut.how != "hold":
                    pair.release()
                    continue
                with self._lock:
                    self._pairs.append(pair)
                for source, target in ((agent, runtime), (runtime, agent)):
                    arguments = (pair, source, target, cut is not None)
                    threading.Thread(target=self._serve, args=arguments, name="proxy", daemon=True).start()

    def _serve(self, pair: _Pair, source: socket.socket, target: socket.socket, held: bool) -> None:  # noqa: FBT001 - a thread's argument
        """One direction of a pair, to its end; the second one to end gives the sockets back."""
        if held:
            _drain(pair, source)
        else:
            self._forward(pair, source, target)
        with self._lock:
            pair.directions -= 1
            if not pair.directions:
                pair.release()

    def _forward(self, pair: _Pair, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            for passing in _messages(source, pair.methods):
                cut = self._take(passing.step, answer=passing.answer)
                if cut is not None and cut.how == "freeze":
                    self._freeze()
                    cut = None
                if cut is None:
                    target.sendall(passing.raw)
                    if (passing.step, passing.answer) == ("Synchronize", True):
                        self._latest = pair
                        self.synchronized.set()
                    continue
                what, _, percent = cut.how.partition(" ")
                if what != "garble":
                    self._lost(pair)
                if what == "hold":
                    _drain(pair, source)
                    return
                at = len(passing.raw) * int(percent) // 100
                if what == "cut":
                    target.sendall(passing.raw[:at])
                    break
                at = min(at, len(passing.raw) - 1)
                target.sendall(passing.raw[:at] + bytes((passing.raw[at] ^ 0x5A,)) + passing.raw[at + 1 :])
        self._lost(pair)
        pair.close()

    def _lost(self, pair: _Pair) -> None:
        """Note the end of a pair; the agent's next one may be synchronised before the last thread of this one has seen it."""
        if self._latest is pair:
            self.synchronized.clear()


def _drain(pair: _Pair, source: socket.socket) -> None:
    """Let nothing through until the source gives up."""
    with contextlib.suppress(OSError):
        while source.recv(65536):
            pass
    pair.close()


def _messages(source: socket.socket, methods: dict[tuple[int, int], str]) -> Iterator[Passing]:
    """The messages that come from `source`, each with the frames that brought it, until it ends."""
    raw = bytearray()  # what has come and not been handed on
    streams: dict[int, bytearray] = {}
    at = 0  # what of `raw` has been taken apart
    while data := source.recv(65536):
        raw += data
        while len(raw) - at >= _FRAME.size:
            connection, length = _FRAME.unpack_from(raw, at)
            if len(raw) - at < _FRAME.size + length:
                break
            stream = streams.setdefault(connection, bytearray())
            stream += raw[at + _FRAME.size : at + _FRAME.size + length]
            at += _FRAME.size + length
            found = _whole(connection, stream, methods)
            if found is not None:
                yield Passing(*found, bytes(raw[:at]))
                del raw[:at]
                at = 0


def _whole(connection: int, stream: bytearray, methods: dict[tuple[int, int], str]) -> tuple[str, bool] | None:
    """Step and direction of the message that `stream` now holds whole, taken out of it; None while it is not."""
    if len(stream) < _MESSAGE.size:
        return None
    length, number, kind, _ = _MESSAGE.unpack_from(stream)
    if len(stream) < _MESSAGE.size + length:
        return None
    data = bytes(stream[_MESSAGE.size : _MESSAGE.size + length])
    del stream[: _MESSAGE.size + length]
    if kind != _REQUEST:
        return methods.pop((connection, number), "?"), True
    request = decode_request(data)
    step = request.method
    if step == "StateChange" and request.payload.startswith(_START_CONTAINER):
        step = "StartContainer"
    methods[connection, number] = step
    return step, False
