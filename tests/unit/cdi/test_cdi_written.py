"""The quick way of reading plain JSON says what the YAML reader says, or leaves it to that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nri_cdi.cdi import written
from nri_cdi.cdi.load import examine, examine_text
from nri_cdi.cdi.plain import spec_to_plain
from nri_cdi.testing import specs

if TYPE_CHECKING:
    from nri_cdi.cdi import Spec

CORPUS = Path(__file__).parents[2] / "conformance" / "cdi_corpus"
FORMS: tuple[dict[str, Any], ...] = (
    {},
    {"indent": 2},
    {"separators": (",", ":")},
    {"indent": 0, "ensure_ascii": False},
    {"indent": "\t"},
)

PLAIN = """{
  "cdiVersion": "1.1.0",
  "kind": "vendor.com/dev",
  "annotations": {"key": "y"},
  "devices": [
    {
      "name": "0x1", "annotations": {"a.b/c": "~"},
      "containerEdits": {
        "env": ["A=1", "B= #: {x} 'y' & *z"],
        "deviceNodes": [{"path": "/dev/a", "hostPath": "/dev/b", "type": "c", "major": 195, "minor": 0, "fileMode": 432, "uid": 1, "permissions": "rw"}],
        "mounts": [{"hostPath": "/a", "containerPath": "/b", "options": ["ro", "bind"]}],
        "hooks": [{"hookName": "prestart", "path": "/bin/x", "args": ["x", "- y"], "timeout": 7}],
        "netDevices": [{"hostInterfaceName": "eth1", "name": "eth0"}],
        "intelRdt": {"closID": "c", "schemata": [], "enableMonitoring": true},
        "additionalGids": [0, 7]
      }
    }
  ],
  "containerEdits": {}
}
"""


def agree(data: bytes) -> None:
    """Both ways say the same of it, to the last fault."""
    assert examine(data, "x") == examine_text(data, "x")


def test_what_a_program_writes_is_read_the_quick_way() -> None:
    found = written.read(PLAIN.encode())
    assert found is not None
    assert found.spec == examine_text(PLAIN.encode(), "x").spec
    agree(PLAIN.encode())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"A=1"', r'"A=\u0031"'),
        ('"A=1"', '"A=\u00e4"'),
        ('"A=1"', '"A=\t1"'),
        ('"A=1"', '"A=\x7f"'),
        ('"A=1"', "1"),
        ('"A=1"', "null"),
        ('"A=1"', "true"),
        ('"kind":', '"kind" :'),
        ('"kind":', '"kind"\n:'),
        ('"kind":', '"Kind":'),
        ('"kind":', '"kinds":'),
        ('"kind":', '"annotations": {}, "kind":'),
        ('"a.b/c"', '"' + "a" * 1100 + '"'),
        ('"~"', "3"),
        ("195", "195.0"),
        ("195", "-1"),
        ("195", "1e2"),
        ("195", '"195"'),
        ("195", "true"),
        ("195", "NaN"),
        ("195", "99999999999999999999"),
        ("432", "4294967296"),
        ("[0, 7]", "{}"),
        ("[0, 7]", "null"),
        ('{"hostInterfaceName"', '{"hostInterfaceNam": "", "hostInterfaceName"'),
        ("\n}\n", "\n}\n{}"),
        ("\n}\n", "\n}, \n"),
        ("\n}\n", "\n"),
        ('{"closID"', "[" * 3000 + '{"closID"'),
    ],
)
def test_what_yaml_may_read_differently_or_is_wrong_is_left_to_the_yaml_reader(old: str, new: str) -> None:
    data = PLAIN.replace(old, new, 1).encode()
    assert data != PLAIN.encode()
    assert written.read(data) is None
    agree(data)


def test_a_spec_that_breaks_a_rule_is_named_with_its_place() -> None:
    (fault,) = examine(PLAIN.replace('"type": "c"', '"type": "x"').encode(), "x").errors
    assert (fault.line, fault.json_path) == (10, "devices[0].containerEdits.deviceNodes[0].type")


@settings(max_examples=60)
@given(specs.specs, st.sampled_from(FORMS))
def test_a_written_spec_is_read_as_the_yaml_reader_reads_it(spec: Spec, form: dict[str, Any]) -> None:
    agree(json.dumps(spec_to_plain(spec), **form).encode())


CORPORA = [path.read_bytes() for path in sorted(CORPUS.glob("*.json"))] + [PLAIN.encode()]
PIECES = [
    b"",
    b" ",
    b"\n",
    b":",
    b",",
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b"\\",
    b"#",
    b"-",
    b"0",
    b"null",
    b"\xc3\xa4",
    b"'",
    b"&a ",
    b"!!str ",
    b"1.5",
]


@settings(max_examples=150)
@given(st.sampled_from(CORPORA), st.integers(0, 10**6), st.integers(0, 3), st.sampled_from(PIECES))
def test_a_damaged_file_is_read_as_the_yaml_reader_reads_it(data: bytes, at: int, lost: int, put: bytes) -> None:
    at %= len(data)
    agree(data[:at] + put + data[at + lost :])


def damaged(value: object, draw: st.DrawFn) -> object:
    """The value with something else somewhere in it."""
    if isinstance(value, dict) and value and draw(st.booleans()):
        key = draw(st.sampled_from(sorted(value)))
        return {**value, key: damaged(value[key], draw)}
    if isinstance(value, list) and value and draw(st.booleans()):
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], damaged(value[at], draw), *value[at + 1 :]]
    return draw(
        st.sampled_from([None, True, 0, 2**40, -3, 0.5, 3.0, "", "y", "0o7", [], [None], {}, {"a": 1}, {"name": "x"}])
    )


@settings(max_examples=100)
@given(st.data())
def test_a_value_of_another_type_is_read_as_the_yaml_reader_reads_it(data: st.DataObject) -> None:
    plain = json.loads(data.draw(st.sampled_from(CORPORA)))
    wrong = data.draw(st.composite(lambda draw: damaged(plain, draw))())
    agree(json.dumps(wrong).encode())
