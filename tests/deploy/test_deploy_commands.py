"""The commands for an operator: `nri-cdi containerd-config` and `nri-cdi uninstall-check`."""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from nri_cdi.cli import main
from nri_cdi.cli.containerd_config import RELEASES, config
from nri_cdi.kubelet import api
from nri_cdi.kubelet.allocate import allocate_names
from nri_cdi.kubelet.carried import Carried, UnreadableCheckpoint, carried
from nri_cdi.testing.checkpoint import checkpoint
from nri_cdi.testing.checkpoint import entry as row

PREFIX = "cdi.k8s.io/"
KIND = "device.example.com/gpu"
CACHE = Path(os.environ.get("NRI_CDI_CACHE", "~/.cache/nri-cdi")).expanduser()
NRI = "io.containerd.nri.v1.nri"


@pytest.mark.parametrize("version", RELEASES)
def test_the_printed_configuration_is_toml_that_turns_nri_on(version: str) -> None:
    read = tomllib.loads(config(version, "/run/nri/nri.sock", None))
    assert read["version"] == int(version)
    table = read["plugins"][NRI]
    assert (table["disable"], table["disable_connections"], table["socket_path"]) == (False, False, "/run/nri/nri.sock")
    assert "default_validator" not in table


@pytest.mark.parametrize("version", RELEASES)
def test_the_validator_is_enabled_where_pods_may_require_the_plugin_and_requires_it_of_nobody_else(
    version: str,
) -> None:
    assert tomllib.loads(config(version, "/s", "nri-cdi"))["plugins"][NRI]["default_validator"] == {"enable": True}


@pytest.mark.parametrize(
    ("series", "version"), [("1.7", "2"), ("2.1", "2"), ("2.1", "3"), ("2.4", "2"), ("2.4", "3"), ("2.4", "4")]
)
def test_containerd_itself_reads_the_printed_configuration_so(tmp_path: Path, series: str, version: str) -> None:
    table = read_by(series, tmp_path, config(version, "/run/elsewhere.sock", "nri-cdi"))
    assert (table["disable"], table["disable_connections"], table["socket_path"]) == (
        False,
        False,
        "/run/elsewhere.sock",
    )
    if series == "2.4":
        assert table["default_validator"]["enable"] is True


@pytest.mark.parametrize(("series", "version"), [("1.7", "2"), ("2.1", "3"), ("2.4", "4")])
def test_as_a_file_of_its_own_that_the_configuration_imports_it_turns_nri_on_too(
    tmp_path: Path, series: str, version: str
) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/nri.toml").write_text(config(version, "/run/elsewhere.sock", None))
    off = f'version = {version}\nimports = ["{tmp_path}/conf.d/*.toml"]\n[plugins."{NRI}"]\n  disable = true\n'
    table = read_by(series, tmp_path, off)
    assert (table["disable"], table["socket_path"]) == (False, "/run/elsewhere.sock")


def read_by(series: str, tmp_path: Path, text: str) -> dict[str, Any]:
    """What containerd itself makes of NRI's table in its configuration."""
    file = tmp_path / "config.toml"
    file.write_text(text)
    containerd = CACHE / "runtimes" / series / "bin/containerd"
    command = [str(containerd), "--config", str(file), "config", "dump"]
    said = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603  # the lab's containerd
    table: dict[str, Any] = tomllib.loads(said.stdout)["plugins"][NRI]
    return table


def entry(pod: str, container: str, names: list[str], *, guard: bool, prefix: str = PREFIX) -> dict[str, Any]:
    """A row of the kubelet's checkpoint with the answer that our Allocate gives."""
    allocations = allocate_names(names, prefix=prefix, random_id=lambda: bytes(16), guard=guard)
    answer = api.ContainerAllocateResponse()
    for allocation in allocations.values():
        answer.annotations.update(allocation.annotations)
        for mount in allocation.mounts:
            answer.mounts.add(container_path=mount.container_path, host_path=mount.host_path, read_only=mount.read_only)
    return row(pod, container, KIND, [name.partition("=")[2] for name in names], answer)


def foreign() -> dict[str, Any]:
    answer = api.ContainerAllocateResponse()
    answer.annotations["cdi.k8s.io/other-plugin_gpu"] = "vendor.com/gpu=0"
    return row("pod-x", "c", KIND, ["0"], answer)


def test_only_answers_of_ours_are_carried_and_a_guard_is_told_from_none() -> None:
    text = checkpoint(
        entry("pod-b", "c", ["device.example.com/gpu=device_3", "device.example.com/gpu=device_1"], guard=True),
        foreign(),
        entry("pod-a", "c", ["device.example.com/gpu=device_0"], guard=False),
    )
    assert carried(text) == [
        Carried("pod-a", "c", "device.example.com/gpu", ("device_0",), guarded=False, allocation="0" * 32),
        Carried("pod-b", "c", "device.example.com/gpu", ("device_1", "device_3"), guarded=True, allocation="0" * 32),
    ]


def test_what_was_allocated_under_another_prefix_is_seen_as_well() -> None:
    (one,) = carried(checkpoint(entry("pod-a", "c", ["device.example.com/gpu=0"], guard=True, prefix="nri-cdi.dev/")))
    assert (one.devices, one.guarded, one.allocation) == (("0",), True, "0" * 32)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"Data": {"PodDeviceEntries": [{}]}}', '{"Data": 3}'])
def test_a_checkpoint_of_another_form_is_an_error_and_never_an_empty_list(text: str) -> None:
    with pytest.raises(UnreadableCheckpoint):
        carried(text)


def kubelet_dir(tmp_path: Path, text: str) -> str:
    (tmp_path / "device-plugins").mkdir()
    (tmp_path / "device-plugins/kubelet_internal_checkpoint").write_text(text)
    return str(tmp_path)


def test_the_check_names_the_containers_and_ends_with_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = kubelet_dir(tmp_path, checkpoint(entry("pod-b", "c", ["device.example.com/gpu=device_3"], guard=True)))
    assert main(["uninstall-check", "--kubelet-dir", where]) == 1
    said = capsys.readouterr()
    assert "pod-b" in said.out
    assert "device.example.com/gpu: device_3" in said.out
    assert "will not start again" in said.out
    assert "drain" in said.err


def test_the_check_ends_with_status_0_where_nobody_depends_on_us(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["uninstall-check", "--kubelet-dir", kubelet_dir(tmp_path, checkpoint(foreign()))]) == 0
    assert capsys.readouterr().out == "no container on this node depends on nri-cdi\n"


def test_pods_are_shown_by_name_and_ended_ones_left_out_when_the_check_is_told_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["device.example.com/gpu=device_3"]
    entries = [entry(uid, "c", names, guard=True) for uid in ("uid-1", "uid-2", "uid-3", "static")]
    pods = tmp_path / "pods.json"
    phases = {"uid-1": "Running", "uid-2": "Succeeded"}
    items = [
        {"metadata": {"uid": uid, "namespace": "work", "name": f"pod-{uid}"}, "status": {"phase": phase}}
        for uid, phase in phases.items()
    ]
    mirror = {"uid": "m", "namespace": "system", "name": "p", "annotations": {"kubernetes.io/config.mirror": "static"}}
    pods.write_text(json.dumps({"items": [*items, {"metadata": mirror}]}))
    where = kubelet_dir(tmp_path, checkpoint(*entries))
    assert main(["uninstall-check", "--kubelet-dir", where, "--pods", str(pods), "-o", "json"]) == 1
    shown = {one["pod_uid"]: one["pod"] for one in json.loads(capsys.readouterr().out)["containers"]}
    assert shown == {"static": "system/p", "uid-1": "work/pod-uid-1"}, "uid-3 was deleted"


def test_a_pod_that_a_list_of_one_namespace_lacks_counts_and_is_said_to_be_missing_from_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pods = tmp_path / "pods.json"
    pods.write_text(json.dumps({"items": [{"metadata": {"uid": "other", "namespace": "work", "name": "other"}}]}))
    where = kubelet_dir(tmp_path, checkpoint(entry("uid-1", "c", ["device.example.com/gpu=device_3"], guard=True)))
    assert main(["uninstall-check", "--kubelet-dir", where, "--pods", str(pods)]) == 1
    said = capsys.readouterr()
    assert "uid-1 (not in the list)  c  " in said.out
    assert "1 of pods that --pods does not list" in said.err


@pytest.mark.parametrize(("text", "reason"), [(None, "it is not there"), ("no JSON", "not a device plugin checkpoint")])
def test_a_checkpoint_that_cannot_be_used_is_said_with_status_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, reason: str
) -> None:
    if text is None:
        (tmp_path / "device-plugins").mkdir()
    where = str(tmp_path) if text is None else kubelet_dir(tmp_path, text)
    assert main(["uninstall-check", "--kubelet-dir", where]) == 3
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("text", [None, "no JSON", "{}", '{"items": [1]}'])
def test_a_list_of_pods_that_cannot_be_used_is_said_with_its_name_and_status_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None
) -> None:
    pods = tmp_path / "pods.json"
    if text is not None:
        pods.write_text(text)
    where = kubelet_dir(tmp_path, checkpoint(foreign()))
    assert main(["uninstall-check", "--kubelet-dir", where, "--pods", str(pods)]) == 3
    assert f"nri-cdi: --pods {pods}: cannot be used: " in capsys.readouterr().err


def test_an_allocation_of_another_release_is_carried_though_its_id_cannot_be_read() -> None:
    answer = api.ContainerAllocateResponse()
    answer.annotations[f"{PREFIX}nri-cdi.v2_what-ever"] = "device.example.com/gpu=0"
    assert [one.allocation for one in carried(checkpoint(row("pod-x", "c", KIND, ["0"], answer)))] == [""]
