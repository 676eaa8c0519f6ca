"""The questions to an NRI half, over real sockets."""

from __future__ import annotations

import contextlib
import itertools
import pathlib
import shutil
import socket
import tempfile
import threading
import types
from typing import TYPE_CHECKING

import pytest

from nri_cdi import readiness
from nri_cdi.account import Account, Injection
from nri_cdi.readiness import ASK_TIMEOUT, METHOD, SERVICE, Answered, Server, Slots, accounts, ask
from nri_cdi.ttrpc import CallReceived, Code, Connection, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nri_cdi.readiness import Check

NAMES = ("v.com/d=0", "v.com/d=1")
ACCOUNT = Account(
    "1.2.3", synchronized=True, standing="fine", injections={"0": Injection("n", "p", "c", "id", "v.com/d=0", "lacks")}
)
REFUSED = "does not answer (connection refused): is it running?"


@pytest.fixture
def slots() -> Iterator[Slots]:
    """In a short directory, because of the length of socket paths."""
    directory = tempfile.mkdtemp(prefix="rd-")
    yield Slots(directory, "/run/nri/nri.sock")
    shutil.rmtree(directory)


@contextlib.contextmanager
def serving(
    path: pathlib.Path, check: Check = lambda _names: None, account: Callable[[], Account] | None = None
) -> Iterator[Server]:
    server = Server(path, check, account)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(10)
        assert not thread.is_alive()


@contextlib.contextmanager
def peer(path: pathlib.Path, behave: Callable[[socket.socket], object]) -> Iterator[None]:
    """A server that does what a test says with the one connection it takes."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def run() -> None:
        sock, _ = listener.accept()
        with sock:
            behave(sock)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join(10)
        listener.close()
        assert not thread.is_alive()


def test_a_half_that_is_ready_has_no_problem_and_was_asked_these_names(slots: Slots) -> None:
    asked: list[tuple[str, ...]] = []
    with serving(slots.path("10", "nri-cdi", "sock"), asked.append):
        assert ask(slots, NAMES) is None
        assert ask(slots, []) is None
    assert asked == [NAMES, ()]


def test_what_a_half_has_against_the_names_is_the_answer(slots: Slots) -> None:
    with serving(slots.path("10", "nri-cdi", "sock"), lambda names: f"no {names[0]} \u2013 not here"):
        assert ask(slots, NAMES) == "no v.com/d=0 \u2013 not here"


def test_without_any_half_the_answer_says_where_it_was_looked_for(slots: Slots) -> None:
    assert ask(slots, NAMES) == f"no NRI half of nri-cdi runs on this node (looked in {slots.run_dir})"
    assert "no NRI half" in str(ask(Slots("/no/such/directory", "/s"), NAMES))


def test_a_socket_that_a_dead_half_left_is_named(slots: Slots) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(slots.path("10", "my.plugin", "sock")))
    assert ask(slots, NAMES) == f"the NRI half 10-my.plugin {REFUSED}"


def test_one_slot_that_is_ready_is_enough(slots: Slots) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(slots.path("09", "nri-cdi", "sock")))
    with (
        serving(slots.path("10", "nri-cdi", "sock"), lambda _names: "not synchronized"),
        serving(slots.path("11", "nri-cdi", "sock"), lambda _names: None),
    ):
        assert ask(slots, NAMES) is None


def test_of_several_slots_that_are_not_ready_each_says_why(slots: Slots) -> None:
    with (
        serving(slots.path("10", "nri-cdi", "sock"), lambda _names: "one"),
        serving(slots.path("11", "nri-cdi", "sock"), lambda _names: "two"),
        serving(slots.path("12", "nri-cdi", "sock"), lambda _names: "one"),
    ):
        assert ask(slots, NAMES) == "one; two"


def test_the_halves_of_another_runtime_are_not_asked(slots: Slots) -> None:
    other = Slots(slots.run_dir, "/run/other/nri.sock")
    with serving(other.path("10", "nri-cdi", "sock"), lambda _names: None):
        assert ask(other, NAMES) is None
        assert "no NRI half" in str(ask(slots, NAMES))


def test_a_runtime_is_the_same_by_whatever_link_its_socket_is_named(slots: Slots) -> None:
    pathlib.Path(slots.run_dir, "link").symlink_to("/run/nri")
    assert Slots(slots.run_dir, f"{slots.run_dir}/link/nri.sock").path("10", "x", "sock") == slots.path(
        "10", "x", "sock"
    )


GARBAGE = {
    "no ttrpc": (b"HTTP/1.1 200 OK\r\n\r\n" * 3, "does not answer: "),
    "nothing": (b"", "does not answer (it closed the connection): is it running?"),
    "half a header": (b"\0\0", "does not answer (it closed the connection): is it running?"),
}


@pytest.mark.parametrize(("data", "words"), GARBAGE.values(), ids=GARBAGE)
def test_a_half_that_answers_with_garbage_does_not_answer(slots: Slots, data: bytes, words: str) -> None:
    def behave(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(data)

    with peer(slots.path("10", "nri-cdi", "sock"), behave):
        assert f"the NRI half 10-nri-cdi {words}" in str(ask(slots, NAMES))


def answering(payload: bytes) -> Callable[[socket.socket], None]:
    """What a peer does that answers one call with these bytes."""

    def behave(sock: socket.socket) -> None:
        connection = Connection(Role.SERVES)
        (call,) = connection.receive(sock.recv(65536))
        assert isinstance(call, CallReceived)
        sock.sendall(b"".join(connection.answer(call.stream, payload)))

    return behave


@pytest.mark.parametrize("payload", [b"", b"[]", b"{}", b"null", b"\xff", b"[" * 100_000])
def test_an_answer_that_cannot_be_read_is_none(slots: Slots, payload: bytes) -> None:
    with peer(slots.path("10", "nri-cdi", "sock"), answering(payload)):
        assert "the NRI half 10-nri-cdi does not answer: " in str(ask(slots, NAMES))


def test_a_refusal_over_ttrpc_is_the_answer(slots: Slots) -> None:
    def behave(sock: socket.socket) -> None:
        connection = Connection(Role.SERVES)
        (call,) = connection.receive(sock.recv(65536))
        sock.sendall(b"".join(connection.refuse(call.stream, Code.UNIMPLEMENTED, "older than that")))

    with peer(slots.path("10", "nri-cdi", "sock"), behave):
        assert ask(slots, NAMES) == "older than that"


def test_a_half_that_is_silent_or_slow_has_its_time_and_no_more(slots: Slots, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "ASK_TIMEOUT", 0.05)
    done = threading.Event()
    with peer(slots.path("10", "nri-cdi", "sock"), lambda _sock: done.wait(10)):
        assert ask(slots, NAMES) == "the NRI half 10-nri-cdi does not answer within 0.05 s"
        done.set()


def test_the_time_of_a_half_counts_from_before_it_was_reached(slots: Slots, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.chain([0.0], itertools.repeat(ASK_TIMEOUT + 1))  # connecting took so long
    with serving(slots.path("10", "nri-cdi", "sock")):
        monkeypatch.setattr(readiness, "time", types.SimpleNamespace(monotonic=lambda: next(clock)))
        assert ask(slots, NAMES) == "the NRI half 10-nri-cdi does not answer within 2 s"


# -- accounts


def test_each_slot_gives_its_account_and_one_that_does_not_answer_says_why(slots: Slots) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(slots.path("09", "nri-cdi", "sock")))
    with (
        serving(slots.path("10", "nri-cdi", "sock"), account=lambda: ACCOUNT),
        serving(slots.path("11", "nri-cdi", "sock")),
    ):
        assert accounts(slots) == [
            Answered("09-nri-cdi", None, REFUSED),
            Answered("10-nri-cdi", ACCOUNT),
            Answered("11-nri-cdi", None, "gives no account: it is of a release of nri-cdi that had none"),
        ]


def test_without_any_slot_there_are_no_accounts(slots: Slots) -> None:
    assert accounts(slots) == []


@pytest.mark.parametrize("payload", [b"", b"[]", b"{}", b"null", b"\xff", b"[" * 100_000])
def test_an_account_that_cannot_be_read_is_none(slots: Slots, payload: bytes) -> None:
    with peer(slots.path("10", "nri-cdi", "sock"), answering(payload)):
        ((slot, account, problem),) = [(one.slot, one.account, one.problem) for one in accounts(slots)]
    assert (slot, account) == ("10-nri-cdi", None)
    assert problem.startswith("does not answer: ")


# -- the server, asked in other ways


def calls(path: pathlib.Path, service: str, method: str, payload: bytes) -> tuple[bytes | None, int]:
    connection = Connection(Role.CALLS)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(path))
        _, pieces = connection.call(service, method, payload)
        sock.sendall(b"".join(pieces))
        while True:
            for event in connection.receive(sock.recv(65536)):
                return event.payload, event.status.code  # type: ignore[union-attr]  # it answers


def test_a_question_that_cannot_be_read_is_a_problem_and_other_methods_are_unknown(slots: Slots) -> None:
    path = slots.path("10", "nri-cdi", "sock")
    with serving(path):
        for payload in (b"", b"7", b"\xff", b"[" * 100_000):
            answer, code = calls(path, SERVICE, METHOD, payload)
            assert code == Code.OK
            assert b"the question cannot be read" in (answer or b"")
        assert calls(path, SERVICE, "Other", b"[]") == (None, Code.UNIMPLEMENTED)
        assert ask(slots, NAMES) is None


def test_a_client_that_sends_garbage_or_leaves_does_not_end_the_server(slots: Slots) -> None:
    path = slots.path("10", "nri-cdi", "sock")
    with serving(path):
        for data in (b"", b"GET / HTTP/1.1\r\n\r\n" * 3, b"\0"):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(path))
                sock.sendall(data)
        assert ask(slots, NAMES) is None


def test_clients_that_say_nothing_or_little_hold_up_no_question(slots: Slots, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "ASK_TIMEOUT", 600.0)  # the time that each of them has
    path = slots.path("10", "nri-cdi", "sock")
    with serving(path), contextlib.ExitStack() as others:
        for said in (b"", b"\0", b"\0\0\0\x7f\0\0"):
            sock = others.enter_context(socket.socket(socket.AF_UNIX))
            sock.connect(str(path))
            sock.sendall(said)
        monkeypatch.setattr(readiness, "ASK_TIMEOUT", 20.0)
        assert ask(slots, NAMES) is None


def test_the_socket_of_an_earlier_process_is_taken_over_and_removed_at_the_end(slots: Slots) -> None:
    path = slots.path("10", "nri-cdi", "sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with serving(path):
        assert ask(slots, NAMES) is None
    assert not path.exists()


def test_a_socket_that_cannot_be_made_says_where_and_what_to_do(slots: Slots) -> None:
    with pytest.raises(OSError, match="too long; --run-dir names another place"):
        Server(slots.path("10", "x" * 120, "sock"), lambda _names: None)
