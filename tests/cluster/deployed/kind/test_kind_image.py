"""The built image, looked into file by file."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from deployed.command import run
from deployed.release import IMAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

SBOM = "usr/share/doc/nri-cdi/sbom.cdx.json"
ENGINE = {".dockerenv", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab"}
"""What the engine itself puts into every container."""


@pytest.fixture(scope="module")
def image() -> Iterator[tarfile.TarFile]:
    identity = run("docker", "create", IMAGE).strip()
    command = ["docker", "export", identity]
    exported = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout  # noqa: S603  # docker
    run("docker", "rm", identity)
    with tarfile.open(fileobj=io.BytesIO(exported)) as it:
        yield it


def read(image: tarfile.TarFile, name: str) -> Any:  # noqa: ANN401  # JSON
    file = image.extractfile(name)
    assert file is not None
    return json.load(file)


def test_every_file_is_roots_and_nobody_may_write_it(image: tarfile.TarFile) -> None:
    files = [
        one for one in image.getmembers() if one.isfile() and one.name not in ENGINE and one.name.split("/")[0] != "dev"
    ]
    assert len(files) > 1000
    assert [one.name for one in files if one.uid or one.gid or one.mode & 0o7222] == []


def test_there_is_no_shell_no_compiler_and_no_package_manager(image: tarfile.TarFile) -> None:
    names = {Path(one.name).name for one in image.getmembers()}
    assert not names & {
        "sh",
        "bash",
        "dash",
        "busybox",
        "gcc",
        "cc",
        "ld",
        "apt",
        "apt-get",
        "dpkg",
        "pip",
        "pip3",
        "ensurepip",
    }
    assert not [name for name in names if name.startswith(("libssl", "libcrypto", "libkrb5", "pip-"))]


def test_only_three_programs_can_be_run(image: tarfile.TarFile) -> None:
    programs = {one.name for one in image.getmembers() if one.name.startswith("usr/local/bin/")}
    assert programs == {"usr/local/bin/nri-cdi", "usr/local/bin/python3", "usr/local/bin/python3.12"}


def test_the_test_support_stays_at_home(image: tarfile.TarFile) -> None:
    assert not [one.name for one in image.getmembers() if "nri_cdi/testing" in one.name]


def test_the_bill_of_materials_names_the_locked_packages_and_the_c_library(image: tarfile.TarFile) -> None:
    bill = read(image, SBOM)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    names = {one["name"] for one in bill["components"]}
    assert {"cpython", "grpcio", "protobuf", "pyyaml", "libc6"} <= names
    assert all(one["version"] for one in bill["components"])


def test_the_labels_say_what_it_is() -> None:
    labels = json.loads(run("docker", "image", "inspect", "-f", "{{json .Config.Labels}}", IMAGE))
    kinds = {name.removeprefix("org.opencontainers.image.") for name in labels}
    assert {"title", "description", "licenses", "version", "revision"} <= kinds
    assert labels["org.opencontainers.image.version"] in run("docker", "run", "--rm", IMAGE, "--version")


def test_every_command_is_there() -> None:
    said = run("docker", "run", "--rm", IMAGE, "--help")
    for command in ("nri", "device-plugin", "cdi", "allocate", "uninstall-check", "containerd-config"):
        assert command in said
    printed = run("docker", "run", "--rm", IMAGE, "containerd-config", "3")
    assert "version = 3" in printed
