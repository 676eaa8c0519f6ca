"""Reading a spec file: all faults at once, warnings, limits, and that no bytes do anything but become a spec or errors."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nri_cdi.cdi import InvalidSpec, Rule, Spec, load_spec, validate
from nri_cdi.cdi.document import DEPTH_MAX, SIZE_MAX
from nri_cdi.cdi.load import examine
from nri_cdi.cdi.plain import spec_to_plain
from nri_cdi.cdi.text import to_yaml
from nri_cdi.testing import specs

GOOD = b"cdiVersion: 0.6.0\nkind: a/b\ndevices:\n- name: d\n  containerEdits:\n    env: [A=b]\n"
BROKEN = b"""\
cdiVersion: 0.4.0
kind: a/b
foo: 1
devices:
- name: d
  containerEdits:
    env: [A, [B=c]]
    deviceNodes:
    - path: /dev/x
      hostPath: /dev/y
      major: one
- containerEdits:
    mounts: [~]
"""


def test_all_faults_of_a_file_come_together_each_with_its_place() -> None:
    errors = examine(BROKEN, "f.yaml").errors
    assert [(error.line, error.column, error.json_path, error.rule) for error in errors] == [
        (3, 1, "foo", Rule.UNKNOWN_FIELD),
        (7, 14, "devices[0].containerEdits.env[1]", Rule.TYPE),
        (11, 14, "devices[0].containerEdits.deviceNodes[0].major", Rule.TYPE),
        (13, 14, "devices[1].containerEdits.mounts[0]", Rule.NULL_ENTRY),
        (7, 11, "devices[0].containerEdits.env[0]", Rule.ENV),
        (12, 3, "devices[1].name", Rule.DEVICE_NAME),
    ]


def test_an_error_is_one_line_with_place_path_reason_and_remedy() -> None:
    error = examine(GOOD.replace(b"A=b", b"A"), "/etc/cdi/f.yaml").errors[0]
    text = '/etc/cdi/f.yaml:6:11: devices[0].containerEdits.env[0]: "A" is not an environment variable; write it as NAME=VALUE'
    assert str(error) == text
    assert json.loads(json.dumps(error.to_plain())) == {
        "path": "/etc/cdi/f.yaml",
        "line": 6,
        "column": 11,
        "jsonPath": "devices[0].containerEdits.env[0]",
        "rule": "env",
        "value": "A",
        "message": '"A" is not an environment variable',
        "hint": "write it as NAME=VALUE",
    }


def test_the_minimum_version_error_says_which_feature_needs_it_and_where() -> None:
    text = GOOD.replace(b"0.6.0", b"0.3.0").replace(b"name: d", b"name: 0d")
    error = examine(text, "f").errors[0]
    assert error.rule is Rule.MINIMUM_VERSION
    assert "at least 0.5.0" in error.message
    assert "devices[0].name" in error.message


def test_a_version_rule_that_nobody_enforces_is_a_warning_at_its_place() -> None:
    text = GOOD.replace(b"0.6.0", b"0.3.0").replace(b"env: [A=b]", b"deviceNodes: [{path: /x, hostPath: /y}]")
    examined = examine(text + b"- {name: e, containerEdits: {env: [A=b]}}\n", "f")
    assert examined.errors == ()
    assert [(warning.line, warning.json_path) for warning in examined.warnings] == [
        (6, "devices[0].containerEdits.deviceNodes[0].hostPath")
    ]


def test_a_misspelled_field_is_answered_with_the_field_that_was_meant() -> None:
    assert (
        examine(GOOD.replace(b"containerEdits", b"containerEdit"), "f").errors[0].hint == "did you mean containerEdits?"
    )


def test_loading_raises_all_faults_or_gives_the_spec() -> None:
    assert load_spec(GOOD).devices[0].name == "d"
    with pytest.raises(InvalidSpec, match="foo") as caught:
        load_spec(BROKEN, "f.yaml")
    assert len(caught.value.errors) == 6
    assert str(caught.value).count("\n") == 5


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_every_encoding_of_yaml_reads_the_same_and_counts_characters(encoding: str) -> None:
    text = GOOD.decode().replace("A=b", '"A=\u00e9\U0001f600", B')
    errors = examine(text.encode(encoding), "f").errors
    assert [(error.line, error.column) for error in errors] == [(6, 19)]


def test_the_size_is_limited() -> None:
    error = examine(b"#" * (SIZE_MAX + 1), "f").errors[0]
    assert "more than" in error.message


@pytest.mark.parametrize("opening", [b"[", b"{a: ", b"- "])
def test_the_depth_is_limited(opening: bytes) -> None:
    assert "nested" in examine(opening * (DEPTH_MAX + 1), "f").errors[0].message


def test_aliases_that_stand_for_a_huge_document_are_refused_quickly() -> None:
    lines = [b"a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [b"a%d: &a%d [%s]" % (i, i, b", ".join([b"*a%d" % (i - 1)] * 10)) for i in range(1, 12)]
    error = examine(b"\n".join(lines), "f").errors[0]
    assert error.rule is Rule.SYNTAX
    assert "aliases" in error.message


def test_a_long_chain_of_merges_is_refused() -> None:
    padding = b"p: [%s]" % b",".join([b"x"] * 30000)  # keeps the share of aliases small
    chain = [b"a%d: &a%d {<<: *a%d}" % (i, i, i - 1) for i in range(1, 600)]
    text = b"\n".join(
        [b"annotations:", b" " + padding, b" a0: &a0 {x: y}", *(b" " + line for line in chain), b" <<: *a599"]
    )
    errors = examine(text, "f").errors
    assert any(error.message.startswith("merged through more than") for error in errors)


def test_no_more_than_a_hundred_faults_are_listed() -> None:
    assert len(examine(b"".join(b"x%d: 1\n" % i for i in range(1000)), "f").errors) == 100


def test_a_few_aliases_are_fine() -> None:
    devices = b"".join(b"- {name: d%d, containerEdits: *e}\n" % i for i in range(2000))
    text = b"cdiVersion: 0.6.0\nkind: a/b\ncontainerEdits: &e {env: [A=b]}\ndevices:\n" + devices
    assert len(load_spec(text).devices) == 2000


def test_a_slash_behind_an_escaped_backslash_is_no_escaped_slash() -> None:
    assert load_spec(GOOD.replace(b"A=b", rb'"A=\\/x"')).devices[0].edits.env == ("A=\\/x",)


@given(st.binary(max_size=80))
@example(b"\x00")
@example(b"\xff\xfe\x00")
@example(b"? [a]\n: b")
@example(b"<<: 1")
@example(b"!!int x")
@example(b"- &a *a")
def test_any_bytes_become_a_spec_or_errors_and_nothing_else(data: bytes) -> None:
    examined = examine(data, "f")
    assert examined.errors or isinstance(examined.spec, Spec)
    assert all(str(error).startswith("f") for error in examined.errors)


PIECES = [
    b"\n",
    b" ",
    b"- ",
    b": ",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b'"',
    b"'",
    b"~",
    b"&a ",
    b"*a ",
    b"<<: ",
    b"!!int ",
    b"?",
    b"#",
    b"\t",
    b"|\n",
    b"0x",
    b"---\n",
]


@settings(max_examples=150)
@given(st.integers(0, len(BROKEN)), st.integers(0, 8), st.lists(st.sampled_from(PIECES), max_size=4))
def test_a_damaged_spec_file_becomes_a_spec_or_errors_with_places(at: int, removed: int, pieces: list[bytes]) -> None:
    data = GOOD[:at] + b"".join(pieces) + GOOD[at + removed :]
    for error in examine(data, "f").errors:
        assert error.rule is Rule.EMPTY or (1 <= error.line <= data.count(b"\n") + 2 and error.column >= 1)


@settings(max_examples=40)
@given(specs.specs)
def test_a_spec_written_as_json_or_yaml_reads_as_it_was(spec: Spec) -> None:
    assert validate(spec) == []
    plain = spec_to_plain(spec)
    assert load_spec(to_yaml(plain).encode()) == spec
    # What YAML 1.1 does not allow in a text stands escaped in JSON, but beyond the basic plane not as a surrogate pair.
    text = re.sub(
        "[\x7f-\x9f\u2028\u2029\ufffe\uffff]",
        lambda match: f"\\u{ord(match.group()):04x}",
        json.dumps(plain, ensure_ascii=False),
    )
    assert load_spec(text.encode()) == spec
