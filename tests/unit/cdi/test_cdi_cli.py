"""`nri-cdi cdi ...`: what is printed where, and the exit status."""

from __future__ import annotations

import argparse
import io
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from nri_cdi.cli import cdi

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "cdiVersion: 0.6.0\nkind: v.com/gpu\ndevices:\n- {name: x, containerEdits: {env: [A=b], deviceNodes: [{path: /dev/null}]}}\n"


def run(*words: str) -> int:
    parser = argparse.ArgumentParser(prog="nri-cdi")
    cdi.register(parser.add_subparsers(required=True))
    arguments = parser.parse_args(["cdi", *words])
    status: int = arguments.run(arguments)
    return status


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    directory = tmp_path / "specs"
    directory.mkdir()
    (directory / "good.yaml").write_text(TEXT)
    (directory / "bad.yaml").write_text("kind: w.com/net\nfoo: 1\n")
    return directory


def feed(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_a_valid_file_is_called_valid_with_the_version_it_needs(
    specs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("validate", str(specs / "good.yaml")) == 0
    out, err = capsys.readouterr()
    assert out == f"{specs}/good.yaml: valid, v.com/gpu, 1 device, cdiVersion 0.6.0, needs cdiVersion 0.3.0\n"
    assert err == ""


def test_an_invalid_file_is_called_invalid_with_every_fault(specs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("validate", str(specs / "good.yaml"), str(specs / "bad.yaml")) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == f"{specs}/bad.yaml: invalid"
    assert [line.split(":")[3].strip() for line in lines[2:]] == ["foo", "cdiVersion", "devices"]


def test_validate_reads_standard_input_and_answers_in_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    feed(monkeypatch, TEXT.replace("A=b", "A").encode())
    assert run("validate", "-o", "json", "-") == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["valid"] is False
    report = answer["files"][0]
    assert (report["path"], report["valid"], report["minimumVersion"], report["devices"]) == (
        "-",
        False,
        "0.3.0",
        ["x"],
    )
    assert report["errors"][0]["rule"] == "env"


def test_a_missing_file_is_the_environments_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ("validate", str(tmp_path / "none")),
        ("validate", str(tmp_path)),
        ("inject", str(tmp_path / "none")),
    ):
        assert run(*words) == 3
        out, err = capsys.readouterr()
        assert out == ""
        assert str(tmp_path) in err


def test_wrong_use_is_status_two(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("validate",), ("parse",), ("inject", "--annotation", "x"), ("devices", "-o", "xml"), ()):
        with pytest.raises(SystemExit) as caught:
            run(*words)
        assert caught.value.code == 2
    assert "is not KEY=VALUE" in capsys.readouterr().err


def test_devices_are_a_table_and_errors_are_words(specs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("devices", "--cdi-dir", str(specs)) == 0
    out, err = capsys.readouterr()
    header, row = out.splitlines()
    assert header.split() == ["DEVICE", "SPEC", "PRIORITY"]
    assert row.split() == ["v.com/gpu=x", f"{specs}/good.yaml", "0"]
    assert header.index("SPEC") == row.index(str(specs))
    assert "bad.yaml:2:1: foo" in err


def test_no_devices_print_nothing_but_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("devices", "--cdi-dir", str(tmp_path)) == 0
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"no devices in {tmp_path}\n")


def test_devices_in_json_have_all_there_is(specs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (specs / "twin.json").write_text(TEXT.replace("name: x", "name: z"))
    assert run("devices", "--cdi-dir", str(specs), "--cdi-dir", "/none", "-o", "json") == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert answer["devices"] == [
        {"name": "v.com/gpu=x", "path": f"{specs}/good.yaml", "priority": 0},
        {"name": "v.com/gpu=z", "path": f"{specs}/twin.json", "priority": 0},
    ]
    assert (answer["vendors"], answer["classes"], answer["dirs"]) == (["v.com"], ["gpu"], [str(specs), "/none"])
    assert answer["specs"] == [f"{specs}/good.yaml", f"{specs}/twin.json"]
    assert list(answer["errors"]) == [f"{specs}/bad.yaml"]


def test_conflicts_are_errors_of_both_files(specs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (specs / "twin.json").write_text(TEXT)
    run("devices", "--cdi-dir", str(specs), "-o", "json")
    answer = json.loads(capsys.readouterr().out)
    assert answer["devices"] == []
    assert {path: faults[0]["rule"] for path, faults in answer["errors"].items() if "bad" not in path} == {
        f"{specs}/good.yaml": "conflict",
        f"{specs}/twin.json": "conflict",
    }


def test_devices_in_yaml_name_the_device(specs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("devices", "--cdi-dir", str(specs), "-o", "yaml") == 0
    assert capsys.readouterr().out.startswith("---\ndevices:\n    - name: v.com/gpu=x\n")


def test_inject_edits_an_oci_spec_from_a_file(specs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "oci.json").write_text('{"ociVersion": "1.0.0", "process": {"env": ["A=0"]}}')
    assert run("inject", "--cdi-dir", str(specs), "--device", "v.com/gpu=x", str(tmp_path / "oci.json")) == 0
    out, err = capsys.readouterr()
    oci = json.loads(out)
    assert (oci["ociVersion"], oci["process"]["env"], err) == ("1.0.0", ["A=b"], "")
    assert [device["path"] for device in oci["linux"]["devices"]] == ["/dev/null"]


def test_inject_takes_names_from_annotations_and_ignores_others(
    specs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    feed(monkeypatch, b"{}")
    annotations = ("--annotation", "cdi.k8s.io/any=v.com/gpu=x", "--annotation", "other=v.com/gpu=none")
    assert run("inject", "--cdi-dir", str(specs), *annotations) == 0
    assert json.loads(capsys.readouterr().out)["process"]["env"] == ["A=b"]


def test_inject_without_devices_gives_the_spec_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    feed(monkeypatch, b'{"mounts": [{"destination": "/b"}]}')
    assert run("inject", "-o", "json", "-") == 0
    assert json.loads(capsys.readouterr().out) == {"mounts": [{"destination": "/b"}]}


@pytest.mark.parametrize(
    ("oci", "words", "said"),
    [
        (b"{}", ("--device", "v.com/gpu=7", "--device", "a"), "unresolvable CDI devices v.com/gpu=7, a: "),
        (b"{}", ("--annotation", "cdi.k8s.io/x=v.com/gpu"), "invalid CDI device name"),
        (b'{"process": 1}', ("--device", "v.com/gpu=x"), "failed to inject devices"),
        (b"[]", (), "must be an object"),
        (b"{", (), "not JSON"),
        (b"\xff", (), "not JSON"),
    ],
)
def test_an_injection_that_fails_prints_words_and_no_data(
    specs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    oci: bytes,
    words: tuple[str, ...],
    said: str,
) -> None:
    feed(monkeypatch, oci)
    assert run("inject", "--cdi-dir", str(specs), *words) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err


def test_parse_prints_the_parts(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("parse", "v.com/gpu=x") == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["vendor", "v.com"],
        ["class", "gpu"],
        ["device", "x"],
    ]
    assert run("parse", "v.com/gpu=x", "-o", "json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer == {"name": "v.com/gpu=x", "qualified": True, "vendor": "v.com", "class": "gpu", "device": "x"}


def test_parse_says_why_a_name_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("parse", "/dev/null") == 1
    assert "must be vendor/class=device" in capsys.readouterr().err
    assert run("parse", "v.com/9=x", "-o", "json") == 1
    answer = json.loads(capsys.readouterr().out)
    assert (answer["qualified"], answer["part"]) == (False, "class")


def test_a_path_that_is_not_utf_8_can_be_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open(os.fsencode(tmp_path) + b"/\xff.yaml", "w") as file:  # noqa: PTH123 - bytes
        file.write(TEXT)
    assert run("devices", "--cdi-dir", str(tmp_path)) == 0
    assert "\\udcff.yaml" in capsys.readouterr().out
