"""Every row of the conformance tables holds for this library."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import yaml

from nri_cdi.cdi import document
from nri_cdi.cdi.load import examine
from nri_cdi.cdi.plain import spec_to_plain
from nri_cdi.cdi.versions import VERSIONS


def _tables() -> Any:  # noqa: ANN401 - a module of tables
    """The tables beside this file; test folders are not packages, so they are loaded by path."""
    location = importlib.util.spec_from_file_location("cdi_files", Path(__file__).with_name("cdi_files.py"))
    assert location is not None
    assert location.loader is not None
    module = importlib.util.module_from_spec(location)
    location.loader.exec_module(module)
    return module


TABLES = _tables()


@pytest.mark.parametrize(
    ("text", "path", "value"), [row[1:] for row in TABLES.ACCEPTED], ids=[row[0] for row in TABLES.ACCEPTED]
)
def test_a_file_that_the_reference_accepts_is_accepted_and_means_the_same(text: str, path: str, value: object) -> None:
    examined = examine(text.encode(), "spec.yaml")
    assert [str(error) for error in examined.errors] == []
    found: Any = spec_to_plain(examined.spec)
    for step in path.split("."):
        found = found[int(step)] if step.isdecimal() else found.get(step)
    assert found == value


# PyYAML's own scanner ends a key at any colon in braces.
WITHOUT_LIBYAML = [row for row in TABLES.ACCEPTED if row[0] != "an annotation key that ends in a colon"]


@pytest.mark.parametrize("text", [row[1] for row in WITHOUT_LIBYAML], ids=[row[0] for row in WITHOUT_LIBYAML])
def test_an_accepted_file_means_the_same_without_libyaml(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    with_libyaml = examine(text.encode(), "spec.yaml")
    monkeypatch.setattr(document, "_Parser", yaml.BaseLoader)
    assert examine(text.encode(), "spec.yaml") == with_libyaml


@pytest.mark.parametrize(
    ("text", "rule", "place"), [row[1:] for row in TABLES.REFUSED], ids=[row[0] for row in TABLES.REFUSED]
)
def test_a_file_that_the_reference_refuses_is_refused_at_its_place(text: str | bytes, rule: str, place: str) -> None:
    examined = examine(text if isinstance(text, bytes) else text.encode(), "spec.yaml")
    assert examined.errors
    first = examined.errors[0]
    assert (first.rule, f"{first.line}:{first.column} {first.json_path}") == (rule, place), str(first)
    assert first.hint
    assert str(first).startswith("spec.yaml")


@pytest.mark.parametrize(("text", "least"), [row[1:] for row in TABLES.NEEDS], ids=[row[0] for row in TABLES.NEEDS])
def test_a_feature_needs_its_version_and_no_other(text: str, least: str) -> None:
    for number, version in enumerate(VERSIONS):
        examined = examine(f"cdiVersion: {version}\n{text}".encode(), "spec.yaml")
        assert examined.least_version == least
        assert [error.rule for error in examined.errors] == (
            [] if number >= VERSIONS.index(least) else ["minimum-version"]
        )
