"""/healthz, /readyz and /metrics: what they say, and the small HTTP server behind them."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nri_cdi import listening
from nri_cdi.telemetry.health import pages
from nri_cdi.telemetry.http import Pages, answer

if TYPE_CHECKING:
    from collections.abc import Iterator

HELLO = {"/hello": lambda: (200, "hé\n"), "/no": lambda: (503, "not now\n")}


@pytest.fixture
def served() -> Iterator[Pages]:
    it = Pages("127.0.0.1:0", HELLO)
    thread = threading.Thread(target=it.run)
    thread.start()
    yield it
    it.stop()
    thread.join(5)
    assert not thread.is_alive()


def get(served: Pages, path: str, method: str = "GET") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=5)
    try:
        connection.request(method, path)
        said = connection.getresponse()
        return said.status, said.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/hello", 200, "hé\n"),
        ("GET", "/hello?verbose=1", 200, "hé\n"),
        ("HEAD", "/hello", 200, ""),
        ("GET", "/no", 503, "not now\n"),
        ("GET", "/other", 404, "here are /hello, /no\n"),
        ("POST", "/hello", 405, "GET or HEAD\n"),
    ],
)
def test_a_page_is_answered_to_an_ordinary_client(
    served: Pages, method: str, path: str, status: int, text: str
) -> None:
    assert get(served, path, method) == (status, text.encode())


def test_clients_that_say_nothing_hold_up_nobody(served: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served._listening, "_patience", 600.0)
    with contextlib.ExitStack() as silent:
        clients = [
            silent.enter_context(socket.create_connection(("127.0.0.1", served.port), timeout=5))
            for _ in range(listening.CLIENTS + 1)
        ]
        assert get(served, "/hello")[0] == 200
        assert clients[0].recv(100) == b""  # the oldest made room


def test_a_client_that_says_little_at_a_time_has_its_time_and_no_more(
    served: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served._listening, "_patience", 0.2)
    end = time.monotonic() + 20
    with socket.create_connection(("127.0.0.1", served.port), timeout=0.02) as sock:
        while time.monotonic() < end:
            with contextlib.suppress(TimeoutError):
                sock.sendall(b"x")
                assert sock.recv(100) == b""
                break
        else:
            pytest.fail("it was served for as long as it went on")


def test_an_answer_that_is_taken_slowly_is_given_whole() -> None:
    long = "x" * (16 << 20)
    it = Pages("127.0.0.1:0", {"/hello": lambda: (200, long)})
    thread = threading.Thread(target=it.run)
    thread.start()
    try:
        assert get(it, "/hello") == (200, long.encode())
    finally:
        it.stop()
        thread.join(5)
    assert not thread.is_alive()


def test_a_client_that_sends_without_end_is_left(served: Pages) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=5) as sock:
        sock.sendall(b"GET /hello HTTP/1.1\r\n" + b"x" * 9000)
        with contextlib.suppress(ConnectionResetError):  # it had not read all of it
            assert sock.recv(100) == b""


@given(st.binary(max_size=200))
def test_whatever_is_asked_is_answered(head: bytes) -> None:
    assert answer(head + b"\r\n\r\n", HELLO).startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize("address", [":0", "127.0.0.1:0", "localhost:0"])
def test_an_address_is_listened_on(address: str) -> None:
    it = Pages(address, HELLO)
    with socket.create_connection(("127.0.0.1", it.port), timeout=5):
        it.stop()


def test_ready_says_of_each_part_why_it_is_not() -> None:
    said = {"nri": None, "kubelet": "kubelet.sock is not there"}
    readyz = pages(list, {"nri": lambda: said["nri"], "kubelet": lambda: said["kubelet"]})["/readyz"]
    assert readyz() == (503, "nri: ready\nkubelet: kubelet.sock is not there\n")
    said["kubelet"] = None
    assert readyz() == (200, "nri: ready\nkubelet: ready\n")


def test_alive_asks_our_threads_and_nobody_else() -> None:
    def asked() -> str:
        raise AssertionError("liveness asked whether we are ready")

    release = threading.Event()
    thread = threading.Thread(target=release.wait, name="nri")
    thread.start()
    healthz = pages(lambda: [thread], {"nri": asked})["/healthz"]
    assert healthz() == (200, "ok\n")
    release.set()
    thread.join()
    assert healthz() == (503, "ended: nri\n")


def test_the_numbers_are_in_the_form_of_prometheus() -> None:
    status, text = pages(list, {"nri": lambda: None, "kubelet": lambda: "no"})["/metrics"]()
    assert status == 200
    assert 'nri_cdi_ready{part="nri"} 1\n' in text
    assert 'nri_cdi_ready{part="kubelet"} 0\n' in text
    for line in text.splitlines():
        assert line.startswith(("# HELP ", "# TYPE ", "nri_cdi_"))
