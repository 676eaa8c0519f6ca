"""Directories read: which entries are spec files, what is wrong with the others, and that nothing stops the scan."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from nri_cdi.cdi import DirectoryState, RejectedFile, Rule, Scan, SpecFile, packed, scan_directories
from nri_cdi.cdi.look import NOTHING_KNOWN, Identity, Key, Look, identity_of
from nri_cdi.cdi.scan import look
from nri_cdi.testing.spec_files import unpacked

TEXT = "cdiVersion: 0.6.0\nkind: a/b\ndevices: [{name: d, containerEdits: {env: [A=b]}}]\n"


def names(scan: Scan) -> list[str]:
    return [Path(file.path).name for file in scan.files]


def test_files_come_by_directory_and_then_by_name_in_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    for directory in (first, second):
        directory.mkdir()
        for name in ("b.json", "a.yaml", "B.yaml", ".yaml", ".hidden.json", "é.yaml"):
            (directory / name).write_text(TEXT)
    scan = scan_directories([str(second), str(first)])
    assert names(scan) == [".hidden.json", ".yaml", "B.yaml", "a.yaml", "b.json", "é.yaml"] * 2
    assert [file.priority for file in scan.files] == [0] * 6 + [1] * 6
    assert scan.files[0].path == f"{second}/.hidden.json"


@pytest.mark.parametrize("name", ["a.yml", "a.JSON", "a.json.bak", "spec.123.tmp", "yaml", "ayaml", "a.yaml~"])
def test_other_names_are_not_looked_at(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("{")
    assert scan_directories([str(tmp_path)]).files == ()


def test_directories_are_not_entered(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").mkdir()
    (tmp_path / "x.yaml" / "a.yaml").write_text(TEXT)
    assert scan_directories([str(tmp_path)]).files == ()


def test_links_are_read_through_and_keep_their_own_path(tmp_path: Path) -> None:
    (tmp_path / "target").write_text(TEXT)
    (tmp_path / "a.yaml").symlink_to("target")
    scan = scan_directories([str(tmp_path)])
    assert names(scan) == ["a.yaml"]
    assert isinstance(scan.files[0], SpecFile)


def test_a_linked_directory_is_read(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.yaml").write_text(TEXT)
    (tmp_path / "link").symlink_to("real")
    assert names(scan_directories([str(tmp_path / "link")])) == ["a.yaml"]


def test_what_is_no_regular_file_is_an_error_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.yaml")
    (tmp_path / "directory").mkdir()
    for name, target in (
        ("dangling", "nowhere"),
        ("folder", "directory"),
        ("loop", "loop.yaml"),
        ("null", "/dev/null"),
        ("tty", "/dev/tty"),
    ):
        (tmp_path / f"{name}.yaml").symlink_to(target)
    (tmp_path / "z.yaml").write_text(TEXT)
    scan = scan_directories([str(tmp_path)])
    *bad, good = scan.files
    assert isinstance(good, SpecFile)
    assert [Path(file.path).name for file in bad] == [
        "dangling.yaml",
        "fifo.yaml",
        "folder.yaml",
        "loop.yaml",
        "null.yaml",
        "tty.yaml",
    ]
    for file in bad:
        assert isinstance(file, RejectedFile)
        assert [error.rule for error in file.errors] == [Rule.UNREADABLE]


def test_a_bad_file_is_rejected_with_its_kind_and_leaves_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(TEXT + "foo: 1\n")
    (tmp_path / "b.yaml").write_text(TEXT)
    bad, good = scan_directories([str(tmp_path)]).files
    assert isinstance(good, SpecFile)
    assert isinstance(bad, RejectedFile)
    assert (bad.kind, bad.errors[0].json_path, bad.errors[0].path) == ("a/b", "foo", f"{tmp_path}/a.yaml")


def test_missing_directories_are_no_error_and_files_in_their_place_are_one_for_them_alone(tmp_path: Path) -> None:
    (tmp_path / "file.yaml").write_text(TEXT)
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "a.yaml").write_text(TEXT)
    (tmp_path / "dangling").symlink_to("nowhere")
    scan = scan_directories([str(tmp_path / part) for part in ("missing", "file.yaml", "dangling", "good/../good/")])
    states = [directory.state for directory in scan.directories]
    assert states == [DirectoryState.MISSING, DirectoryState.ERROR, DirectoryState.MISSING, DirectoryState.PRESENT]
    assert [directory.error is not None for directory in scan.directories] == [False, True, False, False]
    assert scan.directories[3].path == str(tmp_path / "good")
    assert names(scan) == ["a.yaml"]


def test_no_directories_means_the_default_ones() -> None:
    assert [directory.path for directory in scan_directories([]).directories] == ["/etc/cdi", "/var/run/cdi"]


def test_a_name_that_is_not_utf_8_is_read(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/\xff.yaml", "w") as file:  # noqa: PTH123 - bytes
        file.write(TEXT)
    scan = scan_directories([str(tmp_path)])
    assert isinstance(scan.files[0], SpecFile)
    seen = look([str(tmp_path)], {}, {}, leases=False)
    assert unpacked(packed.encode_look(seen)) == seen


def ask(known: dict[Key, Identity], *directories: Path) -> Look:
    """One question to the reading program."""
    question = packed.encode_known(replace(NOTHING_KNOWN, read=known))
    command = [sys.executable, "-m", "nri_cdi.cdi.reading", *map(str, directories)]
    root = Path(__file__).parents[3]
    frame = len(question).to_bytes(8, "big") + question
    done = subprocess.run(command, input=frame, capture_output=True, check=True, cwd=root)  # noqa: S603 - our own program
    assert done.stderr == b""
    rest, frames = done.stdout, []
    while rest:
        end = 8 + int.from_bytes(rest[:8], "big")
        frames.append(rest[8:end])
        rest = rest[end:]
    return unpacked(frames)


def test_the_program_reads_what_is_not_known_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(TEXT)
    (tmp_path / "b.yaml").write_text(TEXT)
    for path in tmp_path.iterdir():
        os.utime(path, (1, 1))
    known = {(0, f"{tmp_path}/{name}"): identity_of(f"{tmp_path}/a.yaml") for name in ("a.yaml", "gone.yaml")}
    seen = ask(known, tmp_path, Path("/none"))
    assert [directory.state for directory in seen.directories] == [DirectoryState.PRESENT, DirectoryState.MISSING]
    assert [file.content for file in seen.files] == [scan_directories([str(tmp_path)]).files[1]]
    assert seen.gone == {(0, f"{tmp_path}/gone.yaml")}


def test_the_library_alone_loads_no_yaml_and_nothing_heavy() -> None:
    code = "import sys, nri_cdi.cdi; print(*sorted({'yaml', 'argparse', 'logging', 'subprocess', 'asyncio', 'socket'} & set(sys.modules)))"
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=root, text=True)  # noqa: S603 - our own code
    assert done.stdout.strip() == ""
