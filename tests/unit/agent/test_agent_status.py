"""`nri-cdi status` on a node of stand-ins: real sockets of both halves, and a kubelet's checkpoint."""

from __future__ import annotations

import contextlib
import json
import pathlib
import shutil
import socket
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from nri_cdi.account import Account, Injection
from nri_cdi.allocation import key_name
from nri_cdi.cli import main, status
from nri_cdi.kubelet import api, directories
from nri_cdi.kubelet.sockets import socket_name
from nri_cdi.readiness import Server, Slots
from nri_cdi.testing.checkpoint import checkpoint, entry

if TYPE_CHECKING:
    from collections.abc import Iterator

KIND = "device.example.com/gpu"
NRI_SOCKET = "/run/nri/nri.sock"
STANDING = "synchronized with containerd 2.1.9 (NRI 0.8.0) as 10-nri-cdi"
AWAY = "it was created while no NRI half of nri-cdi was connected"


class Node:
    """A node's directories, short because of the length of socket paths, with what a test puts there."""

    def __init__(self, directory: str, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self.run_dir, self.kubelet_dir = pathlib.Path(directory, "run"), pathlib.Path(directory, "kubelet")
        self.slots = Slots(str(self.run_dir), NRI_SOCKET)
        self.plugins = self.kubelet_dir / "device-plugins"
        self.plugins.mkdir(parents=True)

    def half(self, index: str, injections: dict[str, Injection], *, synchronized: bool = True) -> None:
        """An NRI half that knows of these."""
        standing = STANDING if synchronized else "not connected yet"
        account = Account("0.1.0", synchronized, standing, injections)
        server = Server(self.slots.path(index, "nri-cdi", "sock"), lambda _names: None, lambda: account)
        thread = threading.Thread(target=server.run)
        thread.start()
        self._stack.callback(thread.join, 10)
        self._stack.callback(server.stop)

    def left(self, path: pathlib.Path) -> None:
        """The socket of a process that is no more."""
        path.parent.mkdir(exist_ok=True)
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))

    def serves(self, resource: str) -> None:
        """A kubelet half that serves a resource."""
        server = grpc.server(ThreadPoolExecutor(1))
        server.add_insecure_port(f"unix:{self.plugins / socket_name(resource)}")
        server.start()
        self._stack.callback(lambda: server.stop(0).wait())

    def freezes(self, resource: str) -> None:
        """A kubelet half that is frozen: the kernel accepts connections for it."""
        listener = self._stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(self.plugins / socket_name(resource)))
        listener.listen()

    def allocations(self, *entries: dict[str, Any]) -> None:
        """The kubelet's checkpoint."""
        (self.plugins / "kubelet_internal_checkpoint").write_text(checkpoint(*entries))

    def status(self, *flags: str) -> int:
        """Run the command."""
        where = ("--run-dir", str(self.run_dir), "--nri-socket", NRI_SOCKET, "--kubelet-dir", str(self.kubelet_dir))
        return main(["status", *where, *flags])


@pytest.fixture
def node() -> Iterator[Node]:
    directory = tempfile.mkdtemp(prefix="st-")
    with contextlib.ExitStack() as stack:
        yield Node(directory, stack)
    shutil.rmtree(directory)


def allocated(number: int, *devices: str, container: str = "main", name: str | None = None) -> dict[str, Any]:
    answer = api.ContainerAllocateResponse()
    key = name or key_name(bytes([number] * 16))
    answer.annotations[f"cdi.k8s.io/{key}"] = ",".join(f"{KIND}={device}" for device in devices)
    return entry(f"uid-{number}", container, KIND, devices, answer)


def injected(number: int, pod: str, container: str = "main", fault: str = "") -> dict[str, Injection]:
    return {f"{number:02d}" * 16: Injection("team", pod, container, f"c{number}", f"{KIND}=device_{number}", fault)}


def furnished(node: Node) -> None:
    """Two slots of which one is dead, the kubelet half, and an allocation in each state."""
    node.left(node.slots.path("11", "nri-cdi", "sock"))
    node.half("10", injected(1, "four") | injected(2, "away", fault=AWAY) | injected(9, "ended"))
    node.serves(KIND)
    node.left(node.plugins / socket_name("vendor.com/my_nic"))
    newer = allocated(4, "device_7", name="nri-cdi.v2_x")
    node.allocations(allocated(1, "device_0", "device_1"), allocated(2, "device_2"), allocated(3, "device_3"), newer)


TEXT = f"""\
ok   NRI half 10-nri-cdi  synchronized with containerd 2.1.9 (NRI 0.8.0) as 10-nri-cdi (nri-cdi 0.1.0)
BAD  NRI half 11-nri-cdi  does not answer (connection refused): is it running?
ok   kubelet half         serves device.example.com/gpu
BAD  kubelet half         does not serve vendor.com/my_nic (connection refused)

POD        CONTAINER  RESOURCE                DEVICES             STATE
team/four  main       device.example.com/gpu  device_0, device_1  injected
team/away  main       device.example.com/gpu  device_2            FAULTY: {AWAY}
uid-3      main       device.example.com/gpu  device_3            no container has them now
uid-4      main       device.example.com/gpu  device_7            in the format of another release

4 allocations: 1 injected, 1 faulty, 2 waiting; 1 more of containers that the kubelet does not know
"""


def test_people_are_shown_the_halves_and_a_table_of_all_allocations(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    furnished(node)
    assert node.status() == 1
    said = capsys.readouterr()
    assert said.out == TEXT
    assert said.err == "nri-cdi: 1 without all that was promised: delete these pods, so that they are made anew\n"


def test_programs_are_given_the_same(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    furnished(node)
    assert node.status("-o", "json") == 1
    shown = json.loads(capsys.readouterr().out)
    assert list(shown) == ["slots", "resources", "checkpoint", "allocations"]
    assert [(one["slot"], one["answers"], one["synchronized"]) for one in shown["slots"]] == [
        ("10-nri-cdi", True, True),
        ("11-nri-cdi", False, False),
    ]
    assert (shown["slots"][0]["version"], shown["slots"][0]["standing"]) == ("0.1.0", STANDING)
    assert shown["resources"] == [
        {"resource": KIND, "problem": None},
        {"resource": "vendor.com/my_nic", "problem": "Connection refused"},
    ]
    assert shown["checkpoint"] is None
    states = [(one["pod"], one["pod_uid"], one["state"]) for one in shown["allocations"]]
    assert states == [
        ("team/four", "uid-1", "injected"),
        ("team/away", "uid-2", "faulty"),
        ("", "uid-3", "waiting"),
        ("", "uid-4", "waiting"),
        ("team/ended", "", "gone"),
    ]
    assert shown["allocations"][1] == {
        "allocation": "02" * 16,
        "state": "faulty",
        "pod": "team/away",
        "pod_uid": "uid-2",
        "container": "main",
        "container_id": "c2",
        "resource": KIND,
        "devices": ["device_2"],
        "fault": AWAY,
    }


def test_all_is_well_where_every_allocation_is_injected_or_waits(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    node.half("10", injected(1, "one"))
    node.half("11", {}, synchronized=False)
    node.allocations(allocated(1, "device_0"))
    assert node.status() == 0
    said = capsys.readouterr()
    assert "BAD  NRI half 11-nri-cdi  not connected yet (nri-cdi 0.1.0)\n" in said.out
    assert said.out.endswith("  injected\n\n1 allocation: 1 injected\n")
    assert said.err == ""


def test_a_kubelet_half_that_is_frozen_does_not_serve(
    node: Node, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "_ANSWER", 0.1)
    node.half("10", {})
    node.freezes(KIND)
    node.allocations()
    assert node.status() == 3
    said = "BAD  kubelet half         does not serve device.example.com/gpu (it accepts connections, and has not answered for 0.1 s)"
    assert said in capsys.readouterr().out


def test_a_socket_of_the_other_way_of_registration_that_a_killed_half_left_is_no_matter(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    node.half("10", {})
    node.serves(KIND)
    node.left(node.kubelet_dir / "plugins_registry" / socket_name(KIND))
    node.allocations()
    assert node.status() == 0
    assert "ok  kubelet half         serves device.example.com/gpu\n" in capsys.readouterr().out


def test_a_resource_that_nobody_serves_is_status_3(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    node.half("10", injected(1, "one"))
    node.allocations(allocated(1, "device_0"))
    node.serves(KIND)
    assert node.status() == 0
    node.left(node.plugins / socket_name("vendor.com/my_nic"))
    assert node.status() == 3
    assert "BAD  kubelet half         does not serve vendor.com/my_nic (connection refused)" in capsys.readouterr().out


def test_without_a_half_that_answers_the_allocations_are_shown_all_the_same_with_status_3(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    node.allocations(allocated(1, "device_0"))
    assert node.status() == 3
    out = capsys.readouterr().out
    assert f"BAD  NRI half      none runs on this node (looked in {node.run_dir})\n" in out
    assert (
        f"-    kubelet half  serves no resource (looked in {node.plugins} and {node.kubelet_dir}/plugins_registry)\n"
        in out
    )
    assert "uid-1  main       device.example.com/gpu  device_0  not known\n" in out


CHECKPOINTS = {
    "none": (None, "it is not there; --kubelet-dir names the kubelet's directory"),
    "no JSON": ("no JSON", "not a device plugin checkpoint"),
    "no text": (b"\xff", "can't decode byte"),
}


@pytest.mark.parametrize(("content", "words"), CHECKPOINTS.values(), ids=CHECKPOINTS)
@pytest.mark.parametrize(("fault", "status"), [("", 3), (AWAY, 1)])
def test_without_a_checkpoint_the_injections_are_shown_all_the_same(
    node: Node,
    capsys: pytest.CaptureFixture[str],
    content: str | bytes | None,
    words: str,
    fault: str,
    status: int,
) -> None:
    if content is not None:
        data = content.encode() if isinstance(content, str) else content
        (node.plugins / "kubelet_internal_checkpoint").write_bytes(data)
    node.half("10", injected(1, "four", fault=fault))
    assert node.status() == status
    said = capsys.readouterr()
    assert "team/four  main       -         device.example.com/gpu=device_1  " in said.out
    assert words in said.err


def test_of_a_kubelet_with_another_root_dir_the_checkpoint_and_our_sockets_are_found(
    node: Node, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    node.half("10", {})
    node.allocations(allocated(1, "device_0"))
    node.serves(KIND)
    constant = node.kubelet_dir.parent / "constant"
    node.plugins.rename(constant)
    monkeypatch.setattr(directories, "DEVICE_PLUGINS", constant)
    node.left(node.kubelet_dir / "plugins_registry" / socket_name("vendor.com/nic"))
    assert node.status() == 3
    out = capsys.readouterr().out
    assert f"ok   kubelet half         serves {KIND}\n" in out
    assert "BAD  kubelet half         does not serve vendor.com/nic (connection refused)\n" in out
    assert "1 allocation: 1 waiting" in out
    assert main(["uninstall-check", "--kubelet-dir", str(node.kubelet_dir)]) == 1
    assert "device_0" in capsys.readouterr().out


def test_a_node_without_allocations_says_so(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    node.half("10", {})
    node.allocations()
    assert node.status() == 0
    assert capsys.readouterr().out.endswith("\n\nno allocation of nri-cdi is known\n")


def test_names_of_others_cannot_move_the_cursor(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    node.half("10", injected(1, "\x1b[2Jpod\n"))
    node.allocations()
    node.half("11", injected(1, "other"))
    node.allocations(allocated(1, "device_0", container="c\r"))
    assert node.status() == 0
    assert "\x1b" not in (out := capsys.readouterr().out)
    assert "team/ [2Jpod   c " in out


@pytest.mark.parametrize("flags", [("--nri-socket", "there"), ("--run-dir", "here")])
def test_wrong_settings_are_status_2(capsys: pytest.CaptureFixture[str], flags: tuple[str, ...]) -> None:
    assert main(["status", *flags]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)


def test_a_flag_of_another_command_is_said_to_be_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["status", "--annotation-prefix", "x/"])
    assert ended.value.code == 2
    assert "unrecognized arguments: --annotation-prefix x/; this command does not take it" in capsys.readouterr().err


def test_a_run_directory_that_may_not_be_read_is_no_missing_half(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    node.run_dir.write_text("")  # root may read every directory: what is none stands for it
    assert node.status() == 3
    said = capsys.readouterr()
    assert str(node.run_dir) in said.err
    assert said.out == ""
