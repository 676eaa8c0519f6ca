"""What the NRI half is asked over a local socket, in ttrpc: by PreStartContainer before each start, and by who wants to know how it stands.

A container is not to be created while the NRI half is not synchronised with the runtime or would refuse it. So the kubelet half asks
"are you synchronised, and do these names resolve?" before each start (`ask`); an NRI half that is dead refuses by not answering. The other question
(`accounts`) is which allocations were injected.

The socket lies in the run directory and is named for the slot of the NRI half: its index, its name, and the runtime's NRI socket, so
that several runtimes on one machine are kept apart.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from nri_cdi.account import Account, decode, encode
from nri_cdi.digest import digest
from nri_cdi.listening import Listening
from nri_cdi.ttrpc import AnswerReceived, CallReceived, Code, Connection, ProtocolError, Role, unimplemented

if TYPE_CHECKING:
    from nri_cdi.listening import Hearing
    from nri_cdi.ttrpc import Event

SERVICE: Final = "nri_cdi.v1.Readiness"
METHOD: Final = "Check"
ACCOUNT_METHOD: Final = "Account"

ASK_TIMEOUT: Final = 2.0
"""Seconds that one NRI half has for its answer. The kubelet itself would wait 30 s."""

OLDER: Final = "gives no account: it is of a release of nri-cdi that had none"

Check = Callable[[tuple[str, ...]], str | None]
"""Qualified names -> None, or the sentence that says why a container with these devices would not be created now. It must not raise."""


@dataclass(frozen=True, slots=True)
class Slots:
    """Where the NRI halves that serve one runtime have their sockets and locks."""

    run_dir: str
    nri_socket: str

    @property
    def _tag(self) -> str:
        return digest(os.path.realpath(self.nri_socket))

    def path(self, index: str, name: str, suffix: str) -> pathlib.Path:
        """The file of one slot: `suffix` is `sock` or `lock`."""
        return pathlib.Path(self.run_dir, f"{index}-{name}.{self._tag}.{suffix}")

    def slot(self, path: pathlib.Path) -> str:
        """The slot that a file is of: `10-nri-cdi`."""
        return path.name.removesuffix(f".{self._tag}{path.suffix}")

    def sockets(self) -> list[pathlib.Path]:
        """The sockets of all slots that there are or have been, in the order of their indexes."""
        return sorted(pathlib.Path(self.run_dir).glob(f"*.{self._tag}.sock"))


@dataclass(frozen=True, slots=True)
class Answered:
    """The account of the NRI half in a slot (`10-nri-cdi`); without one, `problem` says why there is none."""

    slot: str
    account: Account | None
    problem: str = ""


def ask(slots: Slots, names: Sequence[str]) -> str | None:
    """None if one of the NRI halves is ready for these names, else why none is."""
    problems = []
    for path in slots.sockets():
        try:
            problem = _problem(_call(path, METHOD, json.dumps(list(names)).encode()))
        except (OSError, ProtocolError, ValueError) as error:
            problem = f"the NRI half {slots.slot(path)} {_why(error)}"
        if problem is None:
            return None
        problems.append(problem)
    return "; ".join(dict.fromkeys(problems)) or f"no NRI half of nri-cdi runs on this node (looked in {slots.run_dir})"


def accounts(slots: Slots) -> list[Answered]:
    """The accounts of all slots that there are or have been, in the order of their indexes."""
    answers = []
    for path in slots.sockets():
        slot = slots.slot(path)
        try:
            answer = _call(path, ACCOUNT_METHOD, b"")
            known = None if answer.payload is None else decode(answer.payload)
            answers.append(Answered(slot, known, "" if known else OLDER))
        except (OSError, ProtocolError, ValueError) as error:
            answers.append(Answered(slot, None, _why(error)))
    return answers


def _why(error: OSError | ProtocolError | ValueError) -> str:
    """Why an NRI half has not answered, for a person."""
    if isinstance(error, TimeoutError):
        return f"does not answer within {ASK_TIMEOUT:g} s"
    if isinstance(error, OSError):
        return f"does not answer ({(error.strerror or str(error)).lower()}): is it running?"
    return f"does not answer: {error}"


def _call(path: pathlib.Path, method: str, payload: bytes) -> AnswerReceived:
    """Raises OSError (TimeoutError after ASK_TIMEOUT) or ProtocolError when there is no proper answer."""
    deadline = time.monotonic() + ASK_TIMEOUT
    connection = Connection(Role.CALLS)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        _, pieces = connection.call(SERVICE, method, payload)
        _limit(sock, deadline)
        sock.connect(str(path))
        _limit(sock, deadline)
        sock.sendall(b"".join(pieces))
        _limit(sock, deadline)
        while data := sock.recv(65536):
            for event in connection.receive(data):
                if isinstance(event, AnswerReceived):
                    return event
            _limit(sock, deadline)
    raise ConnectionResetError("it closed the connection")


def _limit(sock: socket.socket, deadline: float) -> None:
    """Give the next wait on the socket what is left until then. Raises TimeoutError when that is nothing."""
    if (left := deadline - time.monotonic()) <= 0:
        raise TimeoutError
    sock.settimeout(left)


def _problem(answer: AnswerReceived) -> str | None:
    if answer.payload is None:
        return answer.status.message or f"it answered with the error {answer.status.code}"
    try:
        problem = json.loads(answer.payload)["problem"]
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"its answer cannot be read: {error!r}") from error
    return None if problem is None else str(problem)


class Server:
    """Answers the questions on a socket of its own, one on each connection, until `stop`.

    `account` must not raise; without it that question is an unknown one, as to releases that did not have it.
    """

    def __init__(self, path: pathlib.Path, check: Check, account: Callable[[], Account] | None = None) -> None:
        """Bind the socket. Raises OSError, with the path, when that cannot be."""
        self._path, self._check, self._account = path, check, account
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(str(path))
        except OSError as error:  # it does not name the path
            listener.close()
            raise OSError(f"{path}: {error}; --run-dir names another place") from error
        listener.listen()
        self._listening = Listening(listener, self._hearing, ASK_TIMEOUT, (OSError, ProtocolError))

    def run(self) -> None:
        """Serve until `stop`."""
        self._listening.run()

    def stop(self) -> None:
        """End serving and remove the socket."""
        self._listening.stop()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    def _hearing(self) -> Hearing:
        connection = Connection(Role.SERVES)
        return lambda data: b"".join(
            piece for event in connection.receive(data) for piece in self._reply(connection, event)
        )

    def _reply(self, connection: Connection, event: Event) -> list[bytes]:
        if not isinstance(event, CallReceived):
            return connection.refuse(event.stream, Code.INVALID_ARGUMENT, "not a request")
        if (event.service, event.method) == (SERVICE, METHOD):
            return connection.answer(event.stream, self._answer(event.payload))
        if (event.service, event.method) == (SERVICE, ACCOUNT_METHOD) and self._account is not None:
            return connection.answer(event.stream, encode(self._account()))
        return connection.refuse(event.stream, Code.UNIMPLEMENTED, unimplemented(event.service, event.method))

    def _answer(self, payload: bytes) -> bytes:
        try:
            names = tuple(str(name) for name in json.loads(payload))
        except (ValueError, TypeError, RecursionError) as error:
            return json.dumps({"problem": f"the question cannot be read: {error}"}).encode()
        return json.dumps({"problem": self._check(names)}).encode()
