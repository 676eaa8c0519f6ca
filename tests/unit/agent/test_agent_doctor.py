"""`nri-cdi doctor` finds what is not well on a node, says what to do, and changes nothing."""

from __future__ import annotations

import json
import pathlib
import socket
import tempfile
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from nri_cdi.cli import main
from nri_cdi.doctor import Finding, examine
from nri_cdi.kubelet import directories
from nri_cdi.readiness import Server, Slots
from nri_cdi.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

GPU = "device.example.com/gpu"
SPEC = {
    "cdiVersion": "0.6.0",
    "kind": GPU,
    "devices": [{"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/null"}]}}],
}


@pytest.fixture
def place() -> Iterator[pathlib.Path]:
    """A short directory, because of the length of socket paths."""
    with tempfile.TemporaryDirectory(prefix="dr-") as directory:
        yield pathlib.Path(directory)


@pytest.fixture
def settings(place: pathlib.Path) -> Settings:
    """Of a node on which all is well but for an NRI half, which a test adds."""
    for name in ("cdi", "kubelet/device-plugins", "kubelet/pod-resources", "run"):
        (place / name).mkdir(parents=True)
    (place / "cdi/gpu.json").write_text(json.dumps(SPEC))
    for name in ("device-plugins", "pod-resources"):
        (place / "kubelet" / name / "kubelet.sock").touch()
    with socket.socket(socket.AF_UNIX) as runtime:
        runtime.bind(str(place / "nri.sock"))
    return Settings(
        resource=(GPU,),
        cdi_dir=(str(place / "cdi"),),
        nri_socket=str(place / "nri.sock"),
        kubelet_dir=str(place / "kubelet"),
        run_dir=str(place / "run"),
    )


def unwell(settings: Settings) -> list[Finding]:
    """What is not well, but for the NRI half that is not there."""
    return [finding for finding in examine(settings) if not finding.well and finding.about != "NRI half"]


def test_a_node_that_has_everything_is_well(settings: Settings) -> None:
    server = Server(Slots(settings.run_dir, settings.nri_socket).path("10", "nri-cdi", "sock"), lambda _: None)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        findings = list(examine(settings))
    finally:
        server.stop()
        thread.join(10)
    assert [finding.about for finding in findings if finding.well] == [
        "CDI specs",
        f"resource {GPU}",
        "container runtime",
        "NRI half",
        "kubelet",
    ]
    assert all(finding.well for finding in findings)


def test_an_nri_half_that_is_not_there_is_found(settings: Settings) -> None:
    (finding,) = [finding for finding in examine(settings) if not finding.well]
    assert finding.about == "NRI half"
    assert settings.run_dir in finding.what


def test_a_device_whose_node_is_not_there_is_named(settings: Settings, place: pathlib.Path) -> None:
    (place / "cdi/gpu.json").write_text(json.dumps(SPEC).replace("/dev/null", "/dev/no-such-node"))
    device, resource = unwell(settings)
    assert device.what.startswith(f"{GPU}=0: ")
    assert "/dev/no-such-node" in device.what
    assert resource.what == "1 device; 1 of them cannot be given to a container now"


def test_a_broken_spec_file_and_a_kind_that_nobody_defines_are_found(settings: Settings, place: pathlib.Path) -> None:
    (place / "cdi/broken.json").write_text("{")
    broken, nobody = unwell(replace(settings, resource=("vendor.com/nic",)))
    assert "broken.json:2:1: not YAML" in broken.what
    assert nobody == Finding(
        "resource vendor.com/nic",
        well=False,
        what="no spec file defines a device of vendor.com/nic",
        todo="nri-cdi cdi devices shows what the node has",
    )


@pytest.mark.parametrize(
    ("missing", "about"),
    [
        ("nri.sock", "container runtime"),
        ("kubelet/device-plugins/kubelet.sock", "kubelet"),
        ("kubelet/pod-resources/kubelet.sock", "kubelet"),
    ],
)
def test_a_socket_that_is_not_there_is_found(settings: Settings, place: pathlib.Path, missing: str, about: str) -> None:
    (place / missing).unlink()
    (finding,) = unwell(settings)
    assert finding.about == about
    assert str(place / missing) in finding.what


def test_of_a_kubelet_with_another_root_dir_both_sockets_are_looked_for_where_it_has_them(
    settings: Settings, place: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "kubelet/device-plugins").rename(place / "constant")
    monkeypatch.setattr(directories, "DEVICE_PLUGINS", place / "constant")
    (place / "elsewhere").mkdir()
    assert unwell(settings) == []
    (finding,) = unwell(replace(settings, kubelet_dir=str(place / "elsewhere")))
    assert finding == Finding(
        "kubelet",
        well=False,
        what=f"it cannot be asked whether another device plugin has a resource: {place}/elsewhere/pod-resources/kubelet.sock: No such file or directory",
        todo="--kubelet-dir names its --root-dir",
    )


def test_the_command_says_what_to_do_below_each_finding_and_ends_with_1(
    place: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "device-plugins").mkdir()
    where = ["--cdi-dir", str(place), "--nri-socket", "/nowhere/nri.sock", "--kubelet-dir", str(place)]
    arguments = ["doctor", *where, "--run-dir", str(place)]
    assert main(arguments) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"BAD   CDI specs          no device in {place}",
        "                         put a spec file there, or name its directory: --cdi-dir DIR",
        "BAD   container runtime  its NRI socket cannot be reached: /nowhere/nri.sock: No such file or directory",
        f"{'':<25}is NRI on? nri-cdi containerd-config 2 prints what containerd's configuration must say; --nri-socket names another place",
        f"BAD   NRI half           no NRI half of nri-cdi runs on this node (looked in {place})",
        "                         start one, as with nri-cdi nri; the log of one that runs says more",
        f"BAD   kubelet            its socket cannot be reached: {place}/device-plugins/kubelet.sock: No such file or directory",
        "                         is it running? --kubelet-dir names another place",
    ]
    assert main([*arguments, "-o", "json"]) == 1
    first = json.loads(capsys.readouterr().out)["findings"][0]
    assert first == {
        "about": "CDI specs",
        "well": False,
        "what": f"no device in {place}",
        "todo": "put a spec file there, or name its directory: --cdi-dir DIR",
    }


def test_a_resource_that_cannot_be_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--resource", "Vendor.com/gpu"]) == 2
    assert "give it another name" in capsys.readouterr().err
