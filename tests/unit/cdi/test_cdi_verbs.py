"""`nri-cdi cdi` beyond the main verbs: listings, resolve, annotate, generate, transform, monitor, completion."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nri_cdi import cdi
from nri_cdi.cdi import Snapshot, scan_directories
from nri_cdi.cli import build, main
from nri_cdi.cli.cdi.monitor import changes

ROOT = Path(__file__).parents[3]
TEXT = "cdiVersion: 0.6.0\nkind: v.com/gpu\ndevices:\n- {name: x, containerEdits: {env: [A=b], deviceNodes: [{path: /dev/null}]}}\n"


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    directory = tmp_path / "specs"
    directory.mkdir()
    (directory / "good.yaml").write_text(TEXT)
    (directory / "net.json").write_text(TEXT.replace("v.com/gpu", "w.com/net"))
    (directory / "bad.yaml").write_text("kind: w.com/net\nfoo: 1\n")
    return directory


def call(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    try:
        status = main(["cdi", *words])
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    out, err = capsys.readouterr()
    return status, out, err


def feed(monkeypatch: pytest.MonkeyPatch, data: str) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data.encode())))


LISTINGS = {
    "specs": (["SPEC", "PRIORITY", "KIND", "VERSION", "DEVICES"], ["{d}/good.yaml", "0", "v.com/gpu", "0.6.0", "1"]),
    "vendors": (["VENDOR", "SPECS", "DEVICES"], ["v.com", "1", "1"]),
    "classes": (["CLASS", "VENDORS"], ["gpu", "v.com"]),
    "dirs": (["DIRECTORY", "PRIORITY", "STATE"], ["{d}", "0", "present"]),
}


@pytest.mark.parametrize(("verb", "head", "row"), [(verb, *rows) for verb, rows in LISTINGS.items()], ids=LISTINGS)
def test_a_listing_is_a_table_for_people(
    specs: Path, capsys: pytest.CaptureFixture[str], verb: str, head: list[str], row: list[str]
) -> None:
    status, out, err = call(capsys, verb, "--cdi-dir", str(specs))
    lines = [line.split() for line in out.splitlines()]
    assert (status, lines[0], lines[1]) == (0, head, [cell.format(d=specs) for cell in row])
    assert ("bad.yaml:2:1: foo" in err) == (verb != "dirs")


@pytest.mark.parametrize("verb", LISTINGS)
def test_a_listing_is_data_for_programs(specs: Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    status, out, err = call(capsys, verb, "--cdi-dir", str(specs), "-o", "json")
    answer = json.loads(out)
    assert (status, err) == (0, "")
    assert {"specs": 2, "vendors": 2, "classes": 2, "dirs": 1}[verb] == len(answer[verb])
    _, text, _ = call(capsys, verb, "--cdi-dir", str(specs), "-o", "yaml")
    assert text.startswith(f"---\n{verb}:\n")


def test_specs_are_listed_by_vendor(specs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = call(capsys, "specs", "w.com", "--cdi-dir", str(specs), "-o", "json")
    assert [spec["path"] for spec in json.loads(out)["specs"]] == [f"{specs}/net.json"]


def test_resolve_replaces_names_among_the_devices_of_an_oci_spec(
    specs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    feed(monkeypatch, json.dumps({"linux": {"devices": [{"path": "v.com/gpu=x"}, {"path": "/dev/zero"}]}}))
    status, out, _ = call(capsys, "resolve", "--cdi-dir", str(specs))
    assert status == 0
    assert [device["path"] for device in json.loads(out)["linux"]["devices"]] == ["/dev/zero", "/dev/null"]
    feed(monkeypatch, json.dumps({"linux": {"devices": [{"path": "v.com/gpu=7"}]}}))
    status, out, err = call(capsys, "resolve", "--cdi-dir", str(specs))
    assert (status, out) == (1, "")
    assert 'no device "7"' in err
    feed(monkeypatch, "{}")
    assert call(capsys, "resolve")[:2] == (0, "{}\n")


def test_annotate_makes_what_inject_takes(
    specs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, out, _ = call(capsys, "annotate", "--plugin", "p", "--id", "a/b", "v.com/gpu=x", "w.com/net=x")
    assert (status, out) == (0, "cdi.k8s.io/p_a_b=v.com/gpu=x,w.com/net=x\n")
    feed(monkeypatch, "{}")
    status, out, _ = call(capsys, "inject", "--cdi-dir", str(specs), "--annotation", out.strip())
    assert (status, json.loads(out)["process"]["env"]) == (0, ["A=b"])
    assert call(capsys, "annotate", "--plugin", "p", "--id", "1", "v.com")[0] == 1


@pytest.mark.parametrize("name", ["-a/b=c", "--x", "-", "-o/x=y", "a b", ""])
def test_parse_takes_any_word_for_a_name(capsys: pytest.CaptureFixture[str], name: str) -> None:
    status, out, err = call(capsys, "parse", name) if not name.startswith("-o") else call(capsys, "parse", "--", name)
    assert (status, out) == (1, "")
    assert "not a qualified CDI device name" in err


def test_a_name_that_begins_with_a_dash_is_a_name_for_inject_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    feed(monkeypatch, "{}")
    status, _, err = call(capsys, "inject", "--cdi-dir", str(tmp_path), "--device", "-a/b=c")
    assert status == 1
    assert err.startswith("unresolvable CDI devices -a/b=c: ")


def test_a_mistyped_flag_is_wrong_use_with_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = call(capsys, "devices", "--cdi-dirs", "/x")
    assert status == 2
    assert "did you mean --cdi-dir?" in err


def test_generate_makes_a_spec_of_what_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (10, 2):
        os.mkfifo(tmp_path / f"tty{number}")
    (tmp_path / "tty_note").write_text("no device")
    words = (
        "--kind", "e.com/tty", "--device", f"{tmp_path}/tty*", "--device", f"pair={tmp_path}/tty*", "--all",
        "--mount", "/lib/a", "--mount", "/lib/b:/b:ro,bind", "--env", "A=b", "--hook", "createContainer:/bin/x --now", "--permissions", "rw",
    )  # fmt: skip
    status, out, _ = call(capsys, "generate", *words)
    assert status == 0
    spec = cdi.load_spec(out.encode())
    assert [device.name for device in spec.devices] == ["tty2", "tty10", "pair", "all"]
    assert [node.path for node in spec.devices[3].edits.device_nodes] == [f"{tmp_path}/tty2", f"{tmp_path}/tty10"]
    assert spec.devices[0].edits.device_nodes[0].permissions == "rw"
    assert spec.edits == cdi.ContainerEdits(
        env=("A=b",),
        mounts=(
            cdi.Mount("/lib/a", "/lib/a", ("ro", "nosuid", "nodev", "bind")),
            cdi.Mount("/lib/b", "/b", ("ro", "bind")),
        ),
        hooks=(cdi.Hook("createContainer", "/bin/x", ("/bin/x", "--now")),),
    )
    assert spec.version == "0.3.0"
    status, out, _ = call(capsys, "generate", *words, "-o", "json")
    assert cdi.load_spec(out.encode()) == spec
    assert json.loads(out)


WRONG: dict[str, tuple[int, tuple[str, ...], str]] = {
    "nothing there": (3, ("--kind", "a/b", "--device", "/none/*"), "no device node on this machine"),
    "a kind that is none": (1, ("--kind", "b", "--device", "/dev/null"), "not vendor/class"),
    "no devices": (1, ("--kind", "a/b"), "no devices"),
    "a hook that is none": (1, ("--kind", "a/b", "--device", "/dev/null", "--hook", "x:/y"), "there is no hook"),
    "a hook without a path": (2, ("--kind", "a/b", "--hook", "prestart"), "is not HOOK:PATH"),
    "a mount without a path": (2, ("--kind", "a/b", "--mount", ":/x"), "is not HOST"),
}


@pytest.mark.parametrize(("status", "words", "said"), WRONG.values(), ids=WRONG)
def test_generate_says_what_is_wrong(
    capsys: pytest.CaptureFixture[str], status: int, words: tuple[str, ...], said: str
) -> None:
    found, out, err = call(capsys, "generate", *words)
    assert (found, out) == (status, "")
    assert said in err


def test_transform_changes_the_form_and_nothing_else(
    specs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, out, _ = call(capsys, "transform", "-o", "json", str(specs / "good.yaml"))
    assert json.loads(out)["kind"] == "v.com/gpu"
    feed(monkeypatch, out)
    _, back, _ = call(capsys, "transform")
    assert cdi.load_spec(back.encode()) == cdi.load_spec(TEXT.encode())
    assert call(capsys, "transform", str(specs / "bad.yaml"))[0] == 1
    assert call(capsys, "transform", "/none")[0] == 3


SPEC = cdi.Spec(
    "0.3.0",
    "v.com/gpu",
    (cdi.Device("x", cdi.ContainerEdits(device_nodes=(cdi.DeviceNode("/run/d/null"), cdi.DeviceNode("/dev/a")))),),
    cdi.ContainerEdits(
        mounts=(cdi.Mount("/run/d/lib", "/lib"), cdi.Mount("/run/dx", "/run/d/x")),
        hooks=(cdi.Hook("prestart", "/run/d/hook", ("hook", "/run/d")),),
    ),
)


def test_transform_moves_paths_of_the_host(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, cdi.spec_text(SPEC))
    status, out, _ = call(capsys, "transform", "--from", "/run/d/", "--to", "/")
    spec = cdi.load_spec(out.encode())
    assert status == 0
    assert spec.version == "0.5.0"  # hostPath needs that
    assert spec.devices[0].edits.device_nodes == (cdi.DeviceNode("/run/d/null", "/null"), cdi.DeviceNode("/dev/a"))
    assert [mount.host_path for mount in spec.edits.mounts] == ["/lib", "/run/dx"]
    assert spec.edits.hooks[0] == cdi.Hook("prestart", "/hook", ("hook", "/"))


def test_transform_moves_paths_in_the_container(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    feed(monkeypatch, cdi.spec_text(SPEC))
    _, out, _ = call(capsys, "transform", "--from", "/run/d", "--to", "/opt", "--relative-to", "container")
    spec = cdi.load_spec(out.encode())
    assert spec.devices[0].edits.device_nodes == (cdi.DeviceNode("/opt/null", "/run/d/null"), cdi.DeviceNode("/dev/a"))
    assert [(mount.host_path, mount.container_path) for mount in spec.edits.mounts] == [
        ("/run/d/lib", "/lib"),
        ("/run/dx", "/opt/x"),
    ]


def shot(directory: Path) -> Snapshot:
    return Snapshot.build(scan_directories([str(directory)]))


def test_changes_are_what_came_went_changed_and_broke(specs: Path) -> None:
    before = shot(specs)
    (specs / "good.yaml").write_text(
        TEXT.replace("A=b", "A=c").replace("devices:", "devices:\n- {name: new, containerEdits: {env: [A=b]}}")
    )
    (specs / "net.json").unlink()
    (specs / "bad.yaml").unlink()
    (specs / "worse.yaml").write_text("{")
    found = [(sign, what.get("name", what["path"])) for sign, _, what in changes(before, shot(specs))]
    assert found == [
        ("-", "w.com/net=x"),
        ("+", "v.com/gpu=new"),
        ("~", "v.com/gpu=x"),
        ("!", f"{specs}/worse.yaml"),
        ("=", f"{specs}/bad.yaml"),
    ]
    assert changes(before, before) == []


def test_monitor_prints_what_happens_as_it_happens(specs: Path) -> None:
    command = [sys.executable, "-m", "nri_cdi", "cdi", "monitor", "--cdi-dir", str(specs), "-o", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT) as process:  # noqa: S603 - our own program
        assert process.stdout is not None
        first: list[dict[str, Any]] = [json.loads(process.stdout.readline()) for _ in range(5)]
        assert {line.get("name") for line in first} >= {"v.com/gpu=x", "w.com/net=x"}
        (specs / "net.json").unlink()
        assert json.loads(process.stdout.readline()) == {
            "event": "removed",
            "name": "w.com/net=x",
            "path": f"{specs}/net.json",
        }
        process.terminate()


def test_each_verb_has_an_example_in_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    verbs = [
        "validate",
        "parse",
        "schema",
        "devices",
        "specs",
        "vendors",
        "classes",
        "dirs",
        "inject",
        "resolve",
        "annotate",
        "generate",
        "transform",
        "monitor",
    ]
    for verb in verbs:
        status, out, _ = call(capsys, verb, "--help")
        assert status == 0
        assert f"Example: nri-cdi cdi {verb}" in " ".join(out.split())


def test_schema_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = call(capsys, "schema")
    assert (status, json.loads(out)["title"]) == (0, "CDI spec")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_commands_verbs_and_flags(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    assert main(["completion", shell]) == 0
    out = capsys.readouterr().out
    flag = "cdi-dir" if shell == "fish" else "--cdi-dir"
    assert all(word in out for word in ("cdi", "validate", "relative-to", flag))


def test_bash_completes_what_it_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out + 'COMP_WORDS=(nri-cdi cdi va); COMP_CWORD=2; _nri_cdi; echo "${COMPREPLY[@]}"'
    done = subprocess.run(["/bin/bash", "-c", script], capture_output=True, text=True, check=True)  # noqa: S603 - our own script
    assert done.stdout == "validate\n"
    assert build(()).prog == "nri-cdi"
