from __future__ import annotations

import socket

import pytest

from nri_cdi.host.uevents import Uevents, names_a_node


def message(action: str, path: str, **fields: str) -> bytes:
    head = [f"{action}@{path}", f"ACTION={action}", f"DEVPATH={path}"]
    return b"".join(part.encode() + b"\0" for part in [*head, *(f"{key}={value}" for key, value in fields.items())])


@pytest.mark.parametrize(
    ("event", "relevant"),
    [
        (message("add", "/devices/pci0000:00/0000:00:02.0/drm/card0", DEVNAME="dri/card0", MAJOR="226"), True),
        (message("remove", "/devices/virtual/x", DEVNAME="x"), True),
        (message("change", "/devices/virtual/x", DEVNAME="x"), False),
        (message("add", "/devices/virtual/net/eth0", INTERFACE="eth0"), False),
        (message("add", "/module/x", NOT_DEVNAME="y"), False),
        (b"libudev\0binary", False),
        (b"", False),
    ],
)
def test_only_devices_with_nodes_that_come_or_go_matter(event: bytes, relevant: bool) -> None:  # noqa: FBT001  # a table's column
    assert names_a_node(event) == relevant


def test_taking_what_has_come_tells_whether_it_matters_and_does_not_wait() -> None:
    listener = Uevents()
    kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.settimeout(0)
    listener.close()
    listener._socket = ours
    assert not listener.take()
    for event, relevant in ((message("change", "/x", DEVNAME="x"), False), (message("add", "/x", DEVNAME="x"), True)):
        kernel.send(event)
        assert listener.take() == relevant
    listener.close()
    kernel.close()
