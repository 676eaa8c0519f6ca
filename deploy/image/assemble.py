"""Lay out the root file system of the image: `assemble.py PACKAGES IMAGE`, run in the build stage by the base image's interpreter.

PACKAGES is a directory of installed packages, nri_cdi among them. IMAGE gets the running interpreter, its standard library without what a
server has no use for, the packages, the shared libraries that all of these need, and `nri-cdi` in /usr/local/bin. Everything belongs to root
and is read-only. Bytecode is compiled here: the agent's root file system is read-only, so nothing would keep it later.
"""

# ruff: noqa: INP001  # a program of the build stage, no package
from __future__ import annotations

import compileall
import os
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final

LEFT_OUT: Final = {
    # development, graphics, installers
    "ensurepip", "idlelib", "lib2to3", "pydoc_data", "site-packages", "test", "tests", "tkinter", "turtledemo", "turtle.py", "venv",
    "__pycache__",
    # what links OpenSSL, Kerberos, SQLite, terminals and databases: nothing here uses them, and what is not there needs no patches
    "curses", "dbm", "sqlite3",
}  # fmt: skip
LEFT_OUT_EXTENSIONS: Final = re.compile(
    r"(_ssl|_hashlib|nis|_crypt|_sqlite3|_curses|_curses_panel|readline|_tkinter|_dbm|_gdbm|_test\w*|_ctypes_test|xx\w*)\."
)
LIBRARY: Final = re.compile(r"(?:=> )?(/\S+) \(0x")
SCRIPT: Final = """\
#!{python} -I
import sys
from nri_cdi.cli import main
sys.exit(main())
"""


def left_out(directory: str, names: list[str]) -> set[str]:
    """The names in a directory of the standard library that stay behind (for shutil.copytree)."""
    extensions = directory.endswith("lib-dynload")
    return {
        name
        for name in names
        if name in LEFT_OUT or name.startswith("config-") or (extensions and LEFT_OUT_EXTENSIONS.match(name))
    }


def libraries(files: list[Path]) -> set[Path]:
    """The shared libraries that these ELF files need, the loader among them, by the paths that the loader finds them at."""
    found: set[Path] = set()
    for file in files:
        said = subprocess.run(["/usr/bin/ldd", str(file)], capture_output=True, text=True, check=True).stdout  # noqa: S603  # our own files
        if "not found" in said:
            raise SystemExit(f"assemble: a library that {file} needs is not in the base image:\n{said}")
        found |= {Path(path) for path in LIBRARY.findall(said)}
    return found


def is_elf(path: Path) -> bool:
    """Whether a file is a program or a shared library."""
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def assemble(packages: Path, image: Path) -> None:
    """See the module. Raises SystemExit when a needed library is missing."""
    python = Path(sys.executable).resolve()
    library = Path(sysconfig.get_path("stdlib"))
    site = Path(sysconfig.get_path("purelib"))

    def inside(path: Path) -> Path:
        target = image / path.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    shutil.copy2(python, inside(python))
    inside(python.with_name("python3")).symlink_to(python.name)
    shutil.copytree(library, inside(library), ignore=left_out, symlinks=True)
    shutil.copytree(packages, inside(site), ignore=shutil.ignore_patterns("__pycache__", "bin", "include"))
    programs = [path for path in image.rglob("*") if path.is_file() and not path.is_symlink() and is_elf(path)]
    for path in sorted(libraries(programs)):
        if not inside(path).exists():
            shutil.copy2(path.resolve(), inside(path))
    script = inside(Path("/usr/local/bin/nri-cdi"))
    script.write_text(SCRIPT.format(python=python.with_name("python3")))
    script.chmod(0o555)

    # unchecked: nobody changes a source here, so nobody needs to look at it
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    for directory in (library, site):
        where = image / directory.relative_to("/")
        compileall.compile_dir(str(where), stripdir=str(image), quiet=1, invalidation_mode=mode, workers=0)
    etc = image / "etc"
    etc.mkdir(exist_ok=True)
    (etc / "passwd").write_text("root:x:0:0:root:/:/sbin/nologin\n")
    (etc / "group").write_text("root:x:0:\n")
    directories = sorted({str(path.parent) for path in libraries(programs)})
    (etc / "ld.so.conf").write_text("".join(f"{directory}\n" for directory in directories))
    subprocess.run(["/sbin/ldconfig", "-r", str(image)], check=True)  # noqa: S603  # where the loader looks
    licenses = image / "usr/share/doc/nri-cdi"
    licenses.mkdir(parents=True)
    shutil.copy2("LICENSE", licenses / "LICENSE")


def close(image: Path) -> None:
    """Take away every right to write."""
    for path in image.rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o555)


if __name__ == "__main__":
    os.umask(0o022)
    assemble(Path(sys.argv[1]), Path(sys.argv[2]))
    close(Path(sys.argv[2]))
