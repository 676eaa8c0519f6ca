"""The encoding between the parsing child and the serving process."""

from __future__ import annotations

import json
import marshal
from typing import Any

import pytest
from hypothesis import given, settings

from nri_cdi.cdi import ContainerEdits, IntelRdt, NetDevice, Scan, SpecDirectory, packed, plain
from nri_cdi.cdi.files import DirectoryState
from nri_cdi.testing import specs


@settings(max_examples=80)
@given(specs.scans)
def test_a_decoded_scan_equals_the_encoded_one(scan: Scan) -> None:
    assert packed.decode(packed.encode(scan)) == scan


def test_a_path_that_is_not_utf_8_survives() -> None:
    scan = Scan((SpecDirectory(b"/\xff".decode(errors="surrogateescape"), 0, DirectoryState.MISSING),), ())
    assert packed.decode(packed.encode(scan)) == scan


WRONG: list[Any] = [None, (), ([],), (1, 2), ([[]], []), ([], [[]]), ([], [(True,)])]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"[" * 100_000,
        packed.HEAD,
        packed.HEAD[:-2] + b"3\n" + marshal.dumps(([], [])),
        *(packed.HEAD + marshal.dumps(value) for value in WRONG),
        packed.HEAD + marshal.dumps(([], []))[:-1],
    ],
)
def test_anything_else_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        packed.decode(data)


def test_a_decoded_scan_is_as_frozen_as_a_fresh_one() -> None:
    document = {"cdiVersion": "1.1.0", "kind": "a/b", "devices": [], "annotations": {"a": "b"}}
    spec = plain.spec_from_plain(json.loads(json.dumps(document)))
    assert hash(spec) == hash(spec)
    with pytest.raises(TypeError):
        spec.annotations["a"] = "c"  # type: ignore[index]  # that it cannot be assigned is the point


def test_edits_are_written_under_the_names_of_the_specification() -> None:
    edits = ContainerEdits(
        net_devices=(NetDevice("eth1", "a"),), intel_rdt=IntelRdt("c", schemata=()), additional_gids=(0,)
    )
    assert plain.edits_to_plain(edits) == {
        "netDevices": [{"hostInterfaceName": "eth1", "name": "a"}],
        "intelRdt": {"closID": "c", "schemata": []},
        "additionalGids": [0],
    }
