"""Whatever bytes and whatever directories: a spec or an orderly error, within bounded time and memory."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nri_cdi.cdi import RejectedFile, Rule, scan_directories
from nri_cdi.cdi.document import SIZE_MAX
from nri_cdi.cdi.load import examine

ROOT = Path(__file__).parents[3]
CORPUS = sorted((ROOT / "tests" / "conformance" / "cdi_corpus").iterdir())
HEAD = "cdiVersion: 0.6.0\nkind: a/b\n"

LAUGHS = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
MERGES = "a0: &a0 {k: v}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 10))

BOMBS: dict[str, bytes] = {
    "aliases of aliases": LAUGHS.encode(),
    "merges of merges": MERGES.encode(),
    "deep lists": b"[" * 200_000,
    "deep mappings": b"{a: " * 200_000,
    "deep block lists": b"- " * 100_000,
    "deep block mappings": b"".join(b" " * n + b"a:\n" for n in range(1500)),
    "a number of a million digits": f"{HEAD}devices: [{{name: {'9' * 1_000_000}}}]\n".encode(),
    "a hexadecimal number of a million digits": f"{HEAD}devices: [{{name: 0x{'f' * 1_000_000}}}]\n".encode(),
    "a float with a huge exponent": f"{HEAD}devices: [{{name: 1e{'9' * 100_000}}}]\n".encode(),
    "a base64 text of a million letters": f"{HEAD}annotations: {{a: !!binary {'A' * 1_000_000}}}\n".encode(),
    "fifty thousand unknown fields": b"".join(b"a%d: 1\n" % n for n in range(50_000)),
    "many colons that must be hidden": b"[" + b"a:, " * 50_000 + b"]",
    "many commas behind tags": b"[" + b"!a, b, " * 20_000 + b"]",
    "many question marks": b"{" + b"?a: b, " * 50_000 + b"}",
    "many document markers before a bad byte": b"a: [\n" + b"---\n" * 20_000 + b"\x07",
    "a name of a million letters": f"{HEAD}devices: [{{name: {'x' * 1_000_000}, containerEdits: {{env: [A]}}}}]\n".encode(),
    "one line of blanks": b" " * 2_000_000,
    "comments only": b"#\n" * 500_000,
    "bytes of nothing": bytes(1_000_000),
    "half a character": HEAD.encode() + b"# \xf0\x9f",
    "UTF-16 cut in the middle": "\ufeffkind: a/b".encode("utf-16-le")[:-1],
    "more than a spec file may have": b" " * (SIZE_MAX + 1),
}


@pytest.mark.parametrize("content", BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_an_error_within_seconds(content: bytes) -> None:
    start = time.thread_time()
    examined = examine(content, "spec.yaml")
    assert examined.errors
    assert len(examined.errors) <= 100
    assert all(len(str(error)) < 3_000_000 for error in examined.errors)
    assert time.thread_time() - start < 10


def test_a_bomb_does_not_fill_the_memory(tmp_path: Path) -> None:
    code = (
        "import sys, resource; from nri_cdi.cdi.load import examine\n"
        "for name in sys.argv[1:]: assert examine(open(name, 'rb').read(), name).errors\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    files = []
    for number, name in enumerate(("aliases of aliases", "merges of merges", "many question marks")):
        files.append(tmp_path / f"{number}.yaml")
        files[-1].write_bytes(BOMBS[name])
    command = [sys.executable, "-c", code, *map(str, files)]
    done = subprocess.run(command, capture_output=True, check=True, cwd=ROOT, text=True)  # noqa: S603 - our own code
    assert int(done.stdout) * 1024 < 400 << 20


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_spec_or_errors(content: bytes) -> None:
    examined = examine(content, "spec.yaml")
    assert examined.errors or examined.spec.devices


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_files_as_vendors_write_them_load_and_broken_ones_are_orderly_errors(path: Path) -> None:
    content = path.read_bytes()
    examined = examine(content, str(path))
    assert [str(error) for error in examined.errors] == []
    assert len(examined.spec.devices) >= 1
    chance = random.Random(path.name)  # noqa: S311 - cases, not secrets
    for _ in range(150):
        broken = bytearray(content)
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(broken))
            broken[at : at + chance.randrange(3)] = bytes(
                chance.choice(b"{}[]:,&*!|>'\"%@`#?-~\n\t \\\0\xff") for _ in range(chance.randrange(3))
            )
        found = examine(bytes(broken), str(path))
        assert found.errors or found.spec.devices
        assert all(error.message and error.hint for error in found.errors)


def test_names_of_all_styles_resolve() -> None:
    specs = [examine(path.read_bytes(), "x").spec for path in CORPUS]
    names = {f"{spec.kind}={device.name}" for spec in specs for device in spec.devices}
    assert {
        "nvidia.com/gpu=0",
        "nvidia.com/gpu=1:0",
        "nvidia.com/gpu=all",
        "nvidia.com/gpu=GPU-4cf8db2d-06c0-7d70-1a51-e59b25b2c16c",
        "intel.com/gpu=0000-03-00-0-0x56a0",
        "amd.com/gpu=0x50f2be1ac7cbd2fd",
        "habana.ai/gaudi=accel0",
    } <= names


def test_a_file_of_a_hundred_megabytes_is_refused_without_being_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "a.yaml").open("wb") as file:
        file.truncate(100 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (found,) = scan_directories([str(tmp_path)]).files
    assert isinstance(found, RejectedFile)
    assert [error.rule for error in found.errors] == [Rule.SYNTAX]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150 << 10


def test_a_directory_in_turmoil_is_read_without_an_exception(tmp_path: Path) -> None:
    """Files that vanish while they are read, links that turn into loops, FIFOs where files were."""
    stop = threading.Event()

    def turmoil() -> None:
        chance = random.Random(1)  # noqa: S311 - cases, not secrets
        while not stop.is_set():
            path = tmp_path / f"{chance.randrange(6)}.yaml"
            path.unlink(missing_ok=True)
            match chance.randrange(4):
                case 0:
                    path.write_text(HEAD + "devices: [{name: d, containerEdits: {env: [A=b]}}]\n")
                case 1:
                    path.symlink_to(path.name)
                case 2:
                    os.mkfifo(path)
                case _:
                    path.symlink_to("/proc/self/mem")

    thread = threading.Thread(target=turmoil)
    thread.start()
    try:
        for _ in range(60):
            scan_directories([str(tmp_path)])
    finally:
        stop.set()
        thread.join()
