"""Generated and mutated spec files mean the same to the Go library and to this one, and so do directories and injections."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cdilab.golib import GoLibrary, Missing

from nri_cdi import cdi
from nri_cdi.cdi.load import examine
from nri_cdi.cdi.plain import spec_to_plain

if TYPE_CHECKING:
    from collections.abc import Iterator

CORPUS = Path(__file__).with_name("cdi_corpus")


@pytest.fixture(scope="module")
def go() -> Iterator[GoLibrary]:
    with contextlib.ExitStack() as stack:
        try:
            library = stack.enter_context(GoLibrary())
        except Missing as missing:
            pytest.skip(str(missing))
        yield library


def tables() -> Any:  # noqa: ANN401 - a module of tables
    """The tables beside this file; test folders are not packages, so they are loaded by path."""
    location = importlib.util.spec_from_file_location("cdi_files", Path(__file__).with_name("cdi_files.py"))
    assert location is not None
    assert location.loader is not None
    module = importlib.util.module_from_spec(location)
    location.loader.exec_module(module)
    return module


def meaning(value: Any) -> Any:  # noqa: ANN401 - JSON data
    """The data without what Go writes or leaves out when it is empty."""
    if isinstance(value, dict):
        return {key: meaning(part) for key, part in value.items() if part not in ([], {}, None, "")}
    return [meaning(part) for part in value] if isinstance(value, list) else value


def agree(go: GoLibrary, content: bytes) -> str:
    """Empty if both say the same of this content, else how they differ."""
    theirs, ours = go.spec(content), examine(content, "spec.yaml")
    if "panic" in theirs:  # an empty entry, or a name of one letter: never more than an orderly error for us
        return ""
    if "spec" not in theirs:
        # The released library does not know the permissions "none" yet.
        return "" if ours.errors or b"permissions: none" in content else f"refused: {theirs['error']}"
    if ours.errors:
        return f"accepted, we say {ours.errors[0]}"
    mine = meaning(spec_to_plain(ours.spec))
    return "" if mine == meaning(theirs["spec"]) else f"{meaning(theirs['spec'])}\n{mine}"


def differing(go: GoLibrary, contents: list[bytes]) -> list[tuple[bytes, str]]:
    return [(content, why) for content in contents if (why := agree(go, content))]


def test_the_tables_say_what_the_library_says(go: GoLibrary) -> None:
    rows = [row[1] for row in [*tables().ACCEPTED, *tables().REFUSED]]
    contents = [row if isinstance(row, bytes) else row.replace("a/b", "aa/bb").encode() for row in rows]
    assert differing(go, contents) == []


def test_files_as_vendors_write_them_mean_the_same(go: GoLibrary) -> None:
    assert differing(go, [path.read_bytes() for path in sorted(CORPUS.iterdir())]) == []


PIECES = (
    b"Kind: cc/dd\n", b"KIND: ~\n", b"DEVICES: []\n", b"<<: *e\n", b" !!str ", b"!foo, ", b"? ", b"?", b": ", b"- ", b"{", b"}", b"[", b"]",
    b",", b'"', b"'", b"#", b" #", b"&a ", b"*a", b"|\n", b">-\n", b"~", b"null", b"\t", b"---\n", b"...\n", b"\\", b"0", b"1.0", b"yes", b"\r\n",
    b"\xc2\x85", b"\xef\xbb\xbf", b"\xff", b"\xe2\x84\xaa", b"\\/", b"  ", b"=", b"/", b"name: x\n", b"\x00", b"\x07", b"0x10", b"1e3", b"017",
)  # fmt: skip


def mutated(seeds: list[bytes], chance: random.Random) -> bytes:
    content = bytearray(chance.choice(seeds))
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        at = chance.randrange(len(content) + 1)
        match chance.randrange(4):
            case 0 | 1:
                content[at:at] = chance.choice(PIECES)
            case 2:
                del content[at : at + chance.choice((1, 2, 5))]
            case _:
                start = chance.randrange(len(content))
                content[at:at] = content[start : start + 20]
    return bytes(content)


def test_mutated_files_mean_the_same(go: GoLibrary) -> None:
    chance = random.Random(20260101)  # noqa: S311 - cases, not secrets
    seeds = [path.read_bytes() for path in sorted(CORPUS.iterdir()) if path.stat().st_size < 4000]
    assert differing(go, [mutated(seeds, chance) for _ in range(1500)]) == []


SCALARS = (
    "y", "n", "on", "0x10", "0o17", "017", "08", "0b11", "-0b11", "1_000", "+1", "-0", "-0.0", "1e3", "1.10", ".5", "5.", "1:30", "~", "null", "",
    "2026-01-01", "1e6", "999999.0", "0.00001", "16777217.0", "18446744073709551615", "18446744073709551616", "99999999999999999999", ".inf", "-.inf",
    ".nan", "0x", "tRue", "'5'", '"5"', "!!int 5", "!!str 5", "!!float 7", "!!bool yes", "[1]", "{a: b}", "1000.0", "1.5", "-1", "4294967296", "=", "<<",
)  # fmt: skip
FIELDS = (
    "cdiVersion: {}\nkind: aa/bb\ndevices: [{{name: d, containerEdits: {{env: [A=b]}}}}]\n",
    "cdiVersion: 1.1.0\nkind: aa/bb\ndevices: [{{name: {}, containerEdits: {{env: [A=b]}}}}]\n",
    "cdiVersion: 1.1.0\nkind: aa/bb\ndevices:\n- name: d\n  containerEdits:\n    deviceNodes: [{{path: /x, fileMode: {}}}]\n",
    "cdiVersion: 1.1.0\nkind: aa/bb\ndevices:\n- name: d\n  containerEdits:\n    deviceNodes: [{{path: /x, major: {}}}]\n",
    "cdiVersion: 1.1.0\nkind: aa/bb\ndevices:\n- name: d\n  containerEdits:\n    deviceNodes: [{{path: {}}}]\n",
    "cdiVersion: 1.1.0\nkind: aa/bb\ndevices:\n- name: d\n  containerEdits:\n    additionalGids: [{}]\n",
    "cdiVersion: 1.1.0\nkind: aa/bb\ndevices:\n- name: d\n  containerEdits:\n    intelRdt: {{enableMonitoring: {}}}\n",
    "cdiVersion: 1.1.0\nkind: aa/bb\nannotations:\n  {}: a\ndevices: [{{name: d, containerEdits: {{env: [A=b]}}}}]\n",
    "cdiVersion: 1.1.0\nkind: aa/bb\nannotations:\n  a: {}\ndevices: [{{name: d, containerEdits: {{env: [A=b]}}}}]\n",
)  # fmt: skip


def test_every_scalar_means_the_same_in_every_field(go: GoLibrary) -> None:
    assert differing(go, [field.format(scalar).encode() for field in FIELDS for scalar in SCALARS]) == []


def edits(chance: random.Random) -> dict[str, Any]:
    """Edits whose outcome is the same in the released library and at the revision that we follow."""
    made: dict[str, Any] = {
        "env": [f"NEW{chance.randrange(3)}={chance.randrange(9)}" for _ in range(chance.randrange(1, 3))]
    }
    if chance.random() < 0.5:
        made["deviceNodes"] = [
            {
                "path": chance.choice(("/dev/null", "/dev/a", "/dev/b")),
                "hostPath": chance.choice(("/dev/null", "/dev/zero", "/none")),
            }
            | ({"permissions": chance.choice(("r", "rw"))} if chance.random() < 0.5 else {})
        ]
    if chance.random() < 0.5:
        made["mounts"] = [
            {
                "hostPath": "/h",
                "containerPath": chance.choice(("/", "/a", "/a/b", "//x//y", "rel", "..")),
                "options": ["bind"],
            }
            for _ in range(chance.randrange(1, 3))
        ]
    if chance.random() < 0.3:
        made["hooks"] = [{"hookName": chance.choice(("prestart", "poststop")), "path": "/x", "timeout": 1}]
    if chance.random() < 0.3:
        made["intelRdt"] = chance.choice(({}, {"closID": "c"}))
    if chance.random() < 0.3:
        made["netDevices"] = [{"hostInterfaceName": "e0", "name": "n0"}]
    if chance.random() < 0.3:
        made["additionalGids"] = [chance.randrange(4), chance.randrange(4)]
    return made


def test_directories_and_injections_come_to_the_same(go: GoLibrary, tmp_path: Path) -> None:
    chance = random.Random(7)  # noqa: S311 - as above
    for number in range(120):
        directories = [tmp_path / f"{number}-{at}" for at in range(2)]
        for directory in directories:
            directory.mkdir()
            for name in chance.sample(("a.yaml", "b.json", ".yaml", "c.yml"), chance.randrange(1, 4)):
                devices = [
                    {"name": one, "containerEdits": edits(chance)}
                    for one in chance.sample("xyz", chance.randrange(1, 3))
                ]
                spec: dict[str, Any] = {
                    "cdiVersion": "1.1.0",
                    "kind": chance.choice(("aa/bb", "cc/dd")),
                    "devices": devices,
                }
                spec["containerEdits"] = edits(chance) if chance.random() < 0.3 else {}
                (directory / name).write_text(json.dumps(spec) if chance.random() < 0.9 else "x: 1")
        oci: dict[str, Any] = {
            "ociVersion": "1.2.0",
            "process": {
                "user": {"uid": chance.choice((0, 5)), "gid": 0, "additionalGids": [1]},
                "cwd": "/",
                "env": ["PATH=/bin"],
            },
            "mounts": [{"destination": one, "source": "s"} for one in chance.sample(("/", "/a", "/a/b", "/proc"), 2)],
            "linux": {"devices": [{"path": "/dev/a", "type": "c", "major": 9, "minor": 9}]},
        }
        paths = [str(directory) for directory in directories]
        snapshot = cdi.Snapshot.build(cdi.scan_directories(paths))
        names = chance.choices([*snapshot.devices, "aa/bb=none"], k=chance.randrange(1, 4))
        theirs = go.ask({"dirs": paths, "names": names, "oci": copy.deepcopy(oci)})
        assert (theirs["devices"] or [], theirs["vendors"] or [], theirs["classes"] or []) == (
            list(snapshot.devices),
            list(snapshot.vendors),
            list(snapshot.classes),
        )
        assert set(theirs["errors"]) == set(snapshot.all_errors())
        before = copy.deepcopy(oci)
        try:
            ours = cdi.inject(oci, snapshot.resolve(names), cdi.LocalHost())
        except cdi.UnresolvedDevices as error:
            assert list(error.names) == theirs["unresolved"]  # noqa: PT017 - either outcome is right, if it is theirs
        except cdi.InjectionError:
            assert "failed to inject devices" in theirs["error"] or "failed to stat" in theirs["error"]
        else:
            assert meaning(ours) == meaning(theirs["oci"])
        assert oci == before
