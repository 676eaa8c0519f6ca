"""The JSON schema that we print: it takes every well-written file, and refuses nearly all that are refused."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from nri_cdi.cdi.load import examine
from nri_cdi.cdi.plain import spec_to_plain
from nri_cdi.cdi.schema import SCHEMA

ROOT = Path(__file__).parents[3]
CORPUS = sorted((ROOT / "tests" / "conformance" / "cdi_corpus").iterdir())
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "boolean": (bool,),
}
KNOWN = {
    "$schema", "title", "description", "definitions", "type", "properties", "additionalProperties", "required", "items", "enum", "pattern",
    "minimum", "maximum", "minItems", "minLength", "maxLength", "minProperties", "allOf", "$ref",
}  # fmt: skip


def tables() -> Any:  # noqa: ANN401 - a module of tables
    location = importlib.util.spec_from_file_location("cdi_files", ROOT / "tests" / "conformance" / "cdi_files.py")
    assert location is not None
    assert location.loader is not None
    module = importlib.util.module_from_spec(location)
    location.loader.exec_module(module)
    return module


def valid(value: Any, schema: dict[str, Any]) -> bool:  # noqa: ANN401 - JSON data
    """Whether the schema takes the value: the part of JSON schema that ours uses, every keyword of which is known here."""
    assert schema.keys() <= KNOWN
    if "$ref" in schema:
        return valid(value, SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]])
    kind = schema.get("type")
    if kind and (not isinstance(value, TYPES[kind]) or (kind == "integer" and isinstance(value, bool))):
        return False
    checks = [
        all(valid(value, part) for part in schema.get("allOf", ())),
        "enum" not in schema or value in schema["enum"],
    ]
    if isinstance(value, str):
        checks.append(re.search(schema.get("pattern", ""), value) is not None)
        checks.append(schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)))
    elif isinstance(value, int):
        checks.append(schema.get("minimum", value) <= value <= schema.get("maximum", value))
    elif isinstance(value, list):
        checks.append(len(value) >= schema.get("minItems", 0))
        checks += [valid(part, schema.get("items", {})) for part in value]
    elif isinstance(value, dict):
        properties, other = schema.get("properties", {}), schema.get("additionalProperties", {})
        checks.append(len(value) >= schema.get("minProperties", 0))
        checks += [name in value for name in schema.get("required", ())]
        checks += [
            valid(part, properties[key]) if key in properties else other is not False and valid(part, other)
            for key, part in value.items()
        ]
    return all(checks)


@pytest.mark.parametrize("row", tables().ACCEPTED, ids=lambda row: row[0])
def test_what_a_valid_file_means_is_accepted(row: tuple[str, str, str, object]) -> None:
    assert valid(spec_to_plain(examine(row[1].encode(), "x").spec), SCHEMA)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_files_as_vendors_write_them_are_accepted_as_an_editor_reads_them(path: Path) -> None:
    assert valid(yaml.safe_load(path.read_bytes()), SCHEMA)


# What a schema does not see: a null key (JSON has none), which version a feature needs, what is repeated, and text that only looks right in YAML.
UNSEEN = {"minimum-version", "duplicate-key", "duplicate-device", "net-device", "syntax"}


@pytest.mark.parametrize(
    "row",
    [row for row in tables().REFUSED if row[2] not in UNSEEN and row[0] != "a null key"],
    ids=lambda row: row[0] if isinstance(row, tuple) else "",
)
def test_what_is_refused_is_refused_by_the_schema_too(row: tuple[str, str, str, str]) -> None:
    try:
        value = yaml.safe_load(row[1])
    except (yaml.YAMLError, ValueError):
        return  # no editor gets as far as the schema
    assert not valid(value, SCHEMA)


def test_the_schema_is_json() -> None:
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
