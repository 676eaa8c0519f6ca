"""Write the image's bill of materials: `sbom.py LOCK IMAGE`, run in the build stage, writes IMAGE/usr/share/doc/nri-cdi/sbom.cdx.json.

CycloneDX 1.6. In it: nri-cdi, the Python packages with the hashes of the lock, the interpreter, and the packages of the distribution that the
shared libraries came from. The same input gives the same bytes: no time, and a serial number made from the contents.
"""

# ruff: noqa: INP001  # a program of the build stage, no package
from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
import uuid
from email.parser import HeaderParser
from pathlib import Path
from typing import Any, Final

PINNED: Final = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)")
HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")
PLACE: Final = "usr/share/doc/nri-cdi/sbom.cdx.json"

Component = dict[str, Any]


def locked(lock: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """From the text of a hashed requirements file: for each package its version and the hashes of its files, any of which may be installed."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    name = ""
    for line in lock.splitlines():
        if pinned := PINNED.match(line):
            name = normal(pinned[1])
            found[name] = (pinned[2], ())
        if name and (hashed := HASH.search(line)):
            version, hashes = found[name]
            found[name] = (version, (*hashes, hashed[1]))
    return found


def normal(name: str) -> str:
    """A package's name as the index has it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def python_packages(lock: str, image: Path) -> list[Component]:
    """The Python packages that are installed in the image. Raises SystemExit if the lock does not know one of them."""
    pins = locked(lock)
    found = []
    for file in sorted(image.rglob("*.dist-info/METADATA")):
        said = HeaderParser().parsestr(file.read_text(encoding="utf-8"))
        name, version = normal(said["Name"]), said["Version"]
        if pins.get(name, ("",))[0] != version:
            raise SystemExit(f"sbom: {name} {version} is in the image, and the lock does not say so")
        component: Component = {
            "type": "library",
            "bom-ref": f"pkg:pypi/{name}@{version}",
            "name": name,
            "version": version,
            "purl": f"pkg:pypi/{name}@{version}",
            # the files that may be installed: one for each platform
            "properties": [{"name": "nri-cdi:locked-sha256", "value": value} for value in pins[name][1]],
        }
        if expression := said["License-Expression"]:
            component["licenses"] = [{"expression": expression}]
        elif named := said["License"]:
            component["licenses"] = [{"license": {"name": named}}]
        found.append(component)
    return found


def owner(path: str) -> str | None:
    """The distribution's package that a file came with, if any: the merged /usr knows some files under their old paths only."""
    for name in (path, str(Path(path).resolve()), path.removeprefix("/usr")):
        said = subprocess.run(["/usr/bin/dpkg-query", "-S", name], capture_output=True, text=True, check=False)  # noqa: S603  # paths we made
        if said.returncode == 0:
            return said.stdout.partition(": ")[0].partition(",")[0]
    return None


def distribution_packages(image: Path) -> list[Component]:
    """The packages of the distribution that the image's shared libraries came from."""
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    distribution, suite = release["ID"].strip('"'), release.get("VERSION_CODENAME", "").strip('"')
    libraries = [path for path in image.rglob("*.so*") if "python" not in str(path) and path.parent.name != "etc"]
    names = {owner(f"/{path.relative_to(image)}") for path in libraries}
    found = []
    for name in sorted(filter(None, names)):
        said = subprocess.run(  # noqa: S603  # a name that dpkg-query gave
            ["/usr/bin/dpkg-query", "-W", "-f", "${Package} ${Version} ${Architecture}", name],
            capture_output=True,
            text=True,
            check=True,
        )
        package, version, architecture = said.stdout.split()
        purl = f"pkg:deb/{distribution}/{package}@{version}?arch={architecture}&distro={suite}"
        found.append(
            {"type": "library", "bom-ref": purl, "name": package, "version": version, "purl": purl},
        )
    return found


def bill(version: str, python: str, packages: list[Component]) -> dict[str, Any]:
    """The whole document."""
    agent = {
        "type": "application",
        "bom-ref": f"pkg:pypi/nri-cdi@{version}",
        "name": "nri-cdi",
        "version": version,
        "purl": f"pkg:pypi/nri-cdi@{version}",
        "licenses": [{"license": {"id": "Apache-2.0"}}],
    }
    interpreter = {
        "type": "platform",
        "bom-ref": f"pkg:generic/cpython@{python}",
        "name": "cpython",
        "version": python,
        "purl": f"pkg:generic/cpython@{python}",
        "licenses": [{"license": {"id": "PSF-2.0"}}],
    }
    components = [interpreter, *packages]
    contents = json.dumps([agent, *components], sort_keys=True)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, contents)}",
        "version": 1,
        "metadata": {"component": agent},
        "components": components,
        "dependencies": [
            {"ref": agent["bom-ref"], "dependsOn": [component["bom-ref"] for component in components]},
            *({"ref": component["bom-ref"]} for component in components),
        ],
    }


def main() -> None:
    """Write the file."""
    lock, image = Path(sys.argv[1]).read_text(), Path(sys.argv[2])
    init = next(image.rglob("nri_cdi/__init__.py")).read_text()
    said = re.search(r'__version__ = "([^"]+)"', init)
    if said is None:
        raise SystemExit("sbom: nri_cdi/__init__.py does not say its version")
    document = bill(said[1], platform.python_version(), [*python_packages(lock, image), *distribution_packages(image)])
    target = image / PLACE
    target.write_text(json.dumps(document, indent=2) + "\n")
    target.chmod(0o444)


if __name__ == "__main__":
    main()
