"""The programs of the image's build stage: what is left out, and the bill of materials."""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

CHECKOUT = Path(__file__).resolve().parent.parent.parent


def program(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, CHECKOUT / f"deploy/image/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


assemble, sbom = program("assemble"), program("sbom")

LOCK = """\
# made by a tool
Some.Package==1.2.3 ; python_version >= '3.11' \\
    --hash=sha256:{a} \\
    --hash=sha256:{b}
    # via nri-cdi
other==4 \\
    --hash=sha256:{a}
""".format(a="a" * 64, b="b" * 64)


def test_the_lock_is_read_with_its_versions_and_hashes() -> None:
    assert sbom.locked(LOCK) == {
        "some-package": ("1.2.3", ("a" * 64, "b" * 64)),
        "other": ("4", ("a" * 64,)),
    }


def test_the_real_lock_is_read_and_every_package_in_it_has_hashes() -> None:
    found = sbom.locked((CHECKOUT / "requirements/image.txt").read_text())
    assert {"protobuf", "pyyaml", "grpcio"} <= found.keys()
    assert all(hashes for _, hashes in found.values())


@pytest.fixture
def image(tmp_path: Path) -> Path:
    information = tmp_path / "site-packages/some_package-1.2.3.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Name: Some_Package\nVersion: 1.2.3\nLicense-Expression: MIT\n\nText\n")
    return tmp_path


def test_an_installed_package_is_in_the_bill_with_what_the_lock_says_of_it(image: Path) -> None:
    (package,) = sbom.python_packages(LOCK, image)
    assert (package["purl"], package["licenses"]) == ("pkg:pypi/some-package@1.2.3", [{"expression": "MIT"}])
    assert [one["value"] for one in package["properties"]] == ["a" * 64, "b" * 64]


def test_a_package_that_the_lock_does_not_know_stops_the_build(image: Path) -> None:
    with pytest.raises(SystemExit, match=r"some-package 1\.2\.3 is in the image"):
        sbom.python_packages("some-package==1.2.4", image)


def test_the_bill_is_the_same_for_the_same_contents_and_another_for_others(image: Path) -> None:
    packages = sbom.python_packages(LOCK, image)
    first, second = (json.dumps(sbom.bill("0.1.0", "3.12.1", packages)) for _ in range(2))
    assert first == second
    assert sbom.bill("0.1.1", "3.12.1", packages)["serialNumber"] != json.loads(first)["serialNumber"]
    references = [one["bom-ref"] for one in json.loads(first)["components"]]
    assert json.loads(first)["dependencies"][0]["dependsOn"] == references


@pytest.mark.parametrize(
    ("directory", "name", "left"),
    [
        ("/usr/local/lib/python3.12", "ensurepip", True),
        ("/usr/local/lib/python3.12", "site-packages", True),
        ("/usr/local/lib/python3.12", "config-3.12-x86_64-linux-gnu", True),
        ("/usr/local/lib/python3.12", "json", False),
        ("/usr/local/lib/python3.12/lib-dynload", "_ssl.cpython-312-x86_64-linux-gnu.so", True),
        ("/usr/local/lib/python3.12/lib-dynload", "_testcapi.cpython-312-aarch64-linux-gnu.so", True),
        ("/usr/local/lib/python3.12/lib-dynload", "_socket.cpython-312-x86_64-linux-gnu.so", False),
        ("/usr/local/lib/python3.12/lib-dynload", "_sha2.cpython-312-x86_64-linux-gnu.so", False),
    ],
)
def test_the_standard_library_comes_without_what_a_server_has_no_use_for(
    directory: str, name: str, *, left: bool
) -> None:
    assert (name in assemble.left_out(directory, [name])) is left


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)", "/lib/x86_64-linux-gnu/libc.so.6"),
        ("\t/lib/ld-linux-aarch64.so.1 (0x0000ffff)", "/lib/ld-linux-aarch64.so.1"),
        ("\tlinux-vdso.so.1 (0x00007ffe)", None),
        ("\tstatically linked", None),
    ],
)
def test_what_ldd_says_is_read(line: str, path: str | None) -> None:
    assert assemble.LIBRARY.findall(line) == ([path] if path else [])


def test_the_version_is_the_same_wherever_it_is_written() -> None:
    package = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
    for file, pattern in {
        "nri_cdi/__init__.py": r'__version__ = "(.*)"',
        "Dockerfile": r"ARG VERSION=(.*)",
        "deploy/helm/nri-cdi/Chart.yaml": r"\bversion: (.*)",
    }.items():
        found = re.search(pattern, (CHECKOUT / file).read_text())
        assert found, file
        assert found[1] == package, file
    assert f"appVersion: {package}" in (CHECKOUT / "deploy/helm/nri-cdi/Chart.yaml").read_text()
