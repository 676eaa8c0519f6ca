"""Spec files written and removed: whole or not at all, where CDI wants them, and read back as they were."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nri_cdi import cdi
from nri_cdi.cdi.text import to_yaml
from nri_cdi.testing import specs

if TYPE_CHECKING:
    from pathlib import Path

SPEC = cdi.Spec(
    "0.6.0", "v.com/gpu", (cdi.Device("0", cdi.ContainerEdits(env=("A=<b>&",))),), annotations={"y": "1.10"}
)


@settings(max_examples=30)
@given(specs.specs, st.sampled_from([".yaml", ".json"]))
def test_what_is_written_is_read_back(spec: cdi.Spec, extension: str) -> None:
    assert cdi.load_spec(cdi.spec_text(spec, extension).encode()) == spec


@settings(max_examples=100)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=8))
def test_any_text_survives_as_key_and_as_value(text: str) -> None:
    spec = cdi.Spec(
        "0.6.0", "v/c", (cdi.Device("d", cdi.ContainerEdits(env=(f"A={text}",))),), annotations={text: text}
    )
    for extension in (".yaml", ".json"):
        assert cdi.load_spec(cdi.spec_text(spec, extension).encode()) == spec


def test_yaml_is_laid_out_as_other_writers_do_it() -> None:
    assert cdi.spec_text(SPEC) == (
        '---\ncdiVersion: "0.6.0"\nkind: v.com/gpu\nannotations:\n    "y": "1.10"\ndevices:\n'
        '    - name: "0"\n      containerEdits:\n        env:\n            - "A=<b>&"\n'
    ).replace('"0.6.0"', "0.6.0")


def test_json_is_one_line_with_the_edits_of_the_spec_always_there() -> None:
    assert cdi.spec_text(SPEC, ".json") == (
        '{"cdiVersion":"0.6.0","kind":"v.com/gpu","annotations":{"y":"1.10"},'
        '"devices":[{"name":"0","containerEdits":{"env":["A=\\u003cb\\u003e\\u0026"]}}],"containerEdits":{}}\n'
    )


def test_nothing_in_lists_and_mappings_is_written_as_nothing() -> None:
    assert to_yaml({"a": [], "b": {}, "c": None, "d": [[], {}, [1, [True]], {"e": {"f": 1.5}}]}) == (
        "---\na: []\nb: {}\nc: null\nd:\n    - []\n    - {}\n    -\n      - 1\n      -\n        - true\n    - e:\n        f: 1.5\n"
    )


def test_a_spec_goes_into_the_last_directory_which_is_made(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        path = cdi.write_spec(SPEC, cdi.spec_file_name(SPEC.kind), ["/none", f"{tmp_path}/made/here/"])
    finally:
        os.umask(before)
    assert path == f"{tmp_path}/made/here/v.com-gpu.yaml"
    assert [entry.name for entry in (tmp_path / "made/here").iterdir()] == ["v.com-gpu.yaml"]
    assert (os.stat(path).st_mode & 0o777, os.stat(tmp_path / "made/here").st_mode & 0o777) == (0o600, 0o755)  # noqa: PTH116
    assert cdi.Snapshot.build(cdi.scan_directories([f"{tmp_path}/made/here"])).device("v.com/gpu=0") is not None


@pytest.mark.parametrize(
    ("name", "file"), [("x", "x.yaml"), ("x.yaml", "x.yaml"), ("x.json", "x.json"), ("x.yml", "x.yml.yaml")]
)
def test_a_name_without_an_extension_gets_one(tmp_path: Path, name: str, file: str) -> None:
    assert cdi.write_spec(SPEC, name, [str(tmp_path)]) == f"{tmp_path}/{file}"
    text = (tmp_path / file).read_text()
    assert text.startswith("{" if file.endswith("json") else "---")
    cdi.remove_spec(name, [str(tmp_path)])
    cdi.remove_spec(name, [str(tmp_path)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "a/b", "../x"])
def test_a_name_that_is_a_path_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(cdi.InvalidName, match="without its directory"):
        cdi.write_spec(SPEC, name, [str(tmp_path)])


def test_a_spec_that_nobody_would_load_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(cdi.InvalidSpec, match=r"x.yaml: devices"):
        cdi.write_spec(cdi.Spec("0.6.0", "v/c"), "x", [str(tmp_path)])
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = cdi.write_spec(SPEC, "x", [str(tmp_path)])
    before = (tmp_path / "x.yaml").read_text()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        cdi.write_spec(cdi.Spec("0.6.0", "v/c", SPEC.devices), "x", [str(tmp_path)])
    assert [str(entry) for entry in tmp_path.iterdir()] == [path]
    assert (tmp_path / "x.yaml").read_text() == before


def test_names_of_files_come_from_kind_and_id() -> None:
    assert cdi.spec_file_name("v.com/gpu") == "v.com-gpu"
    assert cdi.spec_file_name("v.com/gpu", "ns/claim") == "v.com-gpu_ns_claim"
    with pytest.raises(cdi.InvalidName):
        cdi.spec_file_name("gpu")
    assert json.loads(cdi.spec_text(SPEC, ".json"))["kind"] == "v.com/gpu"
