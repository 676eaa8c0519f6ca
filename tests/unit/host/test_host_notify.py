"""What a service manager is told, and when: over real sockets."""

from __future__ import annotations

import secrets
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from nri_cdi.host import notify
from nri_cdi.testing.log import Log, logged

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator


class Manager:
    """Stands in for the service manager: its socket, at a path or, with `@`, in the abstract namespace."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.sock.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)

    def told(self) -> list[str]:
        """All that it has been told since this was last asked."""
        messages = []
        while True:
            try:
                messages.append(self.sock.recv(4096).decode())
            except BlockingIOError:
                return messages


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Iterator[Manager]:
    name = f"notify-{secrets.token_hex(4)}"
    manager = Manager(f"@nri-cdi-{name}" if request.param == "abstract" else str(tmp_path / name))
    yield manager
    manager.sock.close()


@pytest.fixture
def log() -> Iterator[Log]:
    with logged("nri_cdi.notify") as log:
        yield log


def test_the_manager_is_told_that_we_are_ready_once_and_only_when_nothing_is_missing(manager: Manager) -> None:
    reasons: list[str | None] = [None, "the devices", "the specs"]
    told_before = []

    def missing() -> str | None:
        told_before.extend(manager.told())
        return reasons.pop()

    notify.announce(manager.address, missing, 60.0, threading.Event())
    assert reasons == []
    assert told_before == []
    assert manager.told() == ["READY=1"]


def test_what_waits_for_us_is_let_go_after_the_limit_and_the_log_says_what_is_missing(
    manager: Manager, log: Log
) -> None:
    notify.announce(manager.address, lambda: "the spec directory hangs", 0.05, threading.Event())
    assert manager.told() == ["READY=1"]
    assert log.count("not ready after 0.05 s; what waits for this service starts all the same: the spec directory") == 1


def test_who_is_told_to_end_before_it_is_ready_says_nothing(manager: Manager) -> None:
    stop = threading.Event()
    stop.set()
    notify.announce(manager.address, lambda: "anything", 60.0, stop)
    assert manager.told() == []


@pytest.mark.parametrize("address", ["{}/nobody", "@nri-cdi-nobody", "vsock:2:1234", "relative"])
def test_a_manager_that_cannot_be_told_is_a_line_in_the_log(tmp_path: pathlib.Path, log: Log, address: str) -> None:
    address = address.format(tmp_path)
    notify.announce(address, lambda: None, 60.0, threading.Event())
    assert log.count(f"the service manager at {address} cannot be told that we are ready: ") == 1


def test_the_address_is_taken_out_of_the_environment_that_our_children_get() -> None:
    environment = {"NOTIFY_SOCKET": "/run/systemd/notify", "PATH": "/bin"}
    assert notify.taken(environment) == "/run/systemd/notify"
    assert environment == {"PATH": "/bin"}
    assert notify.taken(environment) == ""
