"""The host below a root that a test makes: links stay inside it, and what cannot be seen is not taken for absent."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path

import pytest

from nri_cdi.cdi import HostNode, HostNodeMissing, NotADeviceNode
from nri_cdi.host.root import HostRoot, Presence

OUTSIDE = "/usr/bin/env"  # there on the machine itself, never below the root of a test


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A host with /dev, /lib -> usr/lib, /var/run -> /run, and links of all kinds."""
    for name in ("dev", "usr/lib/deep", "run/nri", "var"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "usr/lib/v.so").write_text("")
    (tmp_path / "run/nri/s").write_text("")
    links = {
        "lib": "usr/lib",
        "var/run": "/run",
        "usr/lib/up": "../../run",
        "usr/lib/above": "../../../../../../run",
        "usr/lib/dangling": "/nowhere",
        "usr/lib/out": OUTSIDE,
        "dev/loop-a": "loop-b",
        "dev/loop-b": "loop-a",
    }
    for link, target in links.items():
        (tmp_path / link).symlink_to(target)
    os.mkfifo(tmp_path / "dev/fifo", 0o640)
    return tmp_path


PRESENT = [
    "/",
    "/lib/v.so",
    "/usr/lib/../lib/v.so",
    "/var/run/nri/s",
    "/lib/up/nri/s",
    "/lib/above/nri/s",
    "/../../lib/v.so",
    "//lib//./v.so",
]


@pytest.mark.parametrize("path", PRESENT)
def test_links_and_dots_are_followed_inside_the_root(root: Path, path: str) -> None:
    assert HostRoot(str(root)).presence(path) is Presence.PRESENT


@pytest.mark.parametrize(
    "path", ["/lib/w.so", "/lib/v.so/below", "/dev/loop-a", "/lib/deep/none", "/usr/none/none", "/dev/\0"]
)
def test_what_is_not_there_is_absent(root: Path, path: str) -> None:
    assert HostRoot(str(root)).presence(path) is Presence.ABSENT


@pytest.mark.parametrize("path", ["/opt/x", "/lib/dangling", "/lib/dangling/x"])
def test_what_lies_outside_the_mounted_directories_is_not_visible(root: Path, path: str) -> None:
    assert HostRoot(str(root)).presence(path) is Presence.NOT_VISIBLE


def test_a_link_to_a_directory_that_is_not_mounted_is_not_visible(root: Path) -> None:
    """/var is there, and /var/run leads to /run, which is not: that says nothing of the host."""
    (root / "run/nri/s").unlink()
    (root / "run/nri").rmdir()
    (root / "run").rmdir()
    assert HostRoot(str(root)).presence("/var/run/nri/s") is Presence.NOT_VISIBLE


def test_no_link_leads_out_of_the_root(root: Path) -> None:
    assert Path(OUTSIDE).exists()
    (root / "usr/bin").mkdir()
    assert HostRoot(str(root)).presence("/lib/out") is Presence.ABSENT


def test_what_is_not_visible_is_said_once_for_each_place(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    host = HostRoot(str(root))
    with caplog.at_level(logging.WARNING, "nri_cdi.host"):
        for path in ("/opt/x", "/opt/y", "/srv/z", "/lib/w.so"):
            host.presence(path)
    assert [record.getMessage().partition(" ")[0] for record in caplog.records] == ["/opt/x", "/srv/z"]


def test_the_machines_own_root_knows_present_and_absent() -> None:
    host = HostRoot()
    assert host.presence(OUTSIDE) is Presence.PRESENT
    assert host.presence("/no/such/path") is Presence.ABSENT
    assert host.presence("/\0") is Presence.ABSENT


def test_an_error_that_does_not_say_that_nothing_is_there_is_not_taken_for_absent(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(path: str) -> os.stat_result:
        raise OSError(116, "Stale file handle", path)

    monkeypatch.setattr("nri_cdi.host.root.os.stat", stale)
    assert HostRoot(str(root)).presence("/lib/v.so") is Presence.NOT_VISIBLE
    assert HostRoot().presence("/lib/v.so") is Presence.NOT_VISIBLE


# -- device nodes


def test_the_numbers_of_a_device_node_are_the_kernels() -> None:
    found = HostRoot().device_node("/dev/null")
    assert (found.type, found.major, found.minor) == ("c", 1, 3)


def test_a_fifo_has_no_numbers(root: Path) -> None:
    found = HostRoot(str(root)).device_node("/dev/fifo")
    assert (found.type, found.major, found.minor, found.mode & 0o700) == ("p", 0, 0, 0o600)


def test_parents_are_followed_inside_the_root_and_the_last_part_is_not(root: Path) -> None:
    (root / "devices").symlink_to("/dev")
    (root / "dev/link").symlink_to("fifo")
    host = HostRoot(str(root))
    assert (
        host.device_node("/devices/fifo")
        == host.device_node("/dev/fifo")
        == HostNode("p", 0, 0, host.device_node("/dev/fifo").mode)
    )
    with pytest.raises(NotADeviceNode, match="a symbolic link"):
        host.device_node("/dev/link")


def test_what_is_no_device_node_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = HostRoot(str(root))
    with socket.socket(socket.AF_UNIX) as sock:
        monkeypatch.chdir(root)  # a socket's path has at most 107 bytes
        sock.bind("dev/socket")
    for path, found in (("/lib/v.so", "a regular file"), ("/usr/lib", "a directory"), ("/dev/socket", "a socket")):
        with pytest.raises(NotADeviceNode, match=found):
            host.device_node(path)


@pytest.mark.parametrize("path", ["/dev/none", "/dev/loop-a/x", "/opt/x", "/dev/\0"])
def test_a_device_node_that_is_not_there_is_missing(root: Path, path: str) -> None:
    with pytest.raises(HostNodeMissing):
        HostRoot(str(root)).device_node(path)
