from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, NamedTuple

import pytest
from chaoslab.proxy import Cut, Proxy

from nri_cdi.ttrpc import Link

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLUGIN = "nri.pkg.api.v1alpha1.Plugin"


class Ends(NamedTuple):
    """Both ends of a connection through the proxy, and the proxy."""

    agent: socket.socket
    runtime: socket.socket
    proxy: Proxy
    frozen: threading.Event


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[Ends]:
    """An agent connected through the proxy to a runtime."""
    frozen = threading.Event()
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as agent:
        listener.bind(str(tmp_path / "nri.sock"))
        listener.listen()
        proxy = Proxy(tmp_path / "proxy.sock", tmp_path / "nri.sock", frozen.set)
        agent.connect(str(tmp_path / "proxy.sock"))
        runtime, _ = listener.accept()
        for sock in (agent, runtime):
            sock.settimeout(5)
        with runtime:
            yield Ends(agent, runtime, proxy, frozen)
        proxy.close()


def received(sock: socket.socket, size: int) -> bytes:
    """What comes, up to `size` bytes or the end."""
    data = b""
    while len(data) < size and (piece := sock.recv(65536)):
        data += piece
    return data


def call(method: str, payload: bytes = b"x" * 100) -> tuple[int, bytes]:
    """The runtime's call of a method of the plugin: its stream and its bytes."""
    return Link(serves=2, calls=1).call(PLUGIN, method, payload)


def test_what_is_not_to_be_cut_passes_as_it_is_both_ways(ends: Ends) -> None:
    _, request = call("CreateContainer")
    ends.runtime.sendall(request)
    assert received(ends.agent, len(request)) == request
    link = Link()
    (event,) = link.receive(request)
    answer = link.answer(event.stream, b"y" * 50)
    ends.agent.sendall(answer)
    assert received(ends.runtime, len(answer)) == answer
    assert not ends.proxy.fired.is_set()


@pytest.mark.parametrize(("how", "part"), [("cut 0", 0), ("cut 50", 0.5), ("cut 100", 1)])
def test_a_cut_lets_its_part_of_the_message_through_and_closes_both_sides(ends: Ends, how: str, part: float) -> None:
    _, request = call("CreateContainer")
    ends.proxy.arm(Cut("CreateContainer", answer=False, how=how))
    ends.runtime.sendall(request)
    assert received(ends.agent, len(request) + 1) == request[: int(len(request) * part)]
    assert received(ends.runtime, 1) == b""
    assert ends.proxy.fired.is_set()


def test_garbling_changes_one_byte(ends: Ends) -> None:
    _, request = call("CreateContainer")
    ends.proxy.arm(Cut("CreateContainer", answer=False, how="garble 50"))
    ends.runtime.sendall(request)
    seen = received(ends.agent, len(request))
    assert [at for at, byte in enumerate(seen) if byte != request[at]] == [len(request) // 2]


def test_a_held_message_never_comes_and_the_end_of_its_sender_is_the_end(ends: Ends) -> None:
    ends.proxy.arm(Cut("Configure", answer=False, how="hold"))
    ends.runtime.sendall(call("Configure")[1])
    assert ends.proxy.fired.wait(5)
    ends.runtime.shutdown(socket.SHUT_WR)
    assert received(ends.agent, 1) == b""


def test_a_freeze_comes_before_the_message_and_lets_it_pass(ends: Ends) -> None:
    # StateChange with event 6 is StartContainer in its older form
    _, request = call("StateChange", b"\x08\x06")
    ends.proxy.arm(Cut("StartContainer", answer=False, how="freeze"))
    ends.runtime.sendall(request)
    assert received(ends.agent, len(request)) == request
    assert ends.frozen.is_set()


def test_another_step_or_the_other_direction_is_left_alone(ends: Ends) -> None:
    ends.proxy.arm(Cut("CreateContainer", answer=True, how="cut 0"))
    for method in ("CreateContainer", "StateChange"):
        _, request = call(method)
        ends.runtime.sendall(request)
        assert received(ends.agent, len(request)) == request
    assert not ends.proxy.fired.is_set()
