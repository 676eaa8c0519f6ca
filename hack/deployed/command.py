"""Programs of this machine, run to their end; and where `kind` and `helm` are."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from lab.trouble import LabError

CHECKOUT: Final = Path(__file__).resolve().parent.parent.parent


def run(*command: str | Path, stdin: str | None = None, timeout: float = 300, ok: bool = True) -> str:
    """What a command prints. Raises LabError, with what it said, when it fails; `ok=False`: returns what it printed and said instead."""
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=timeout, cwd=CHECKOUT, check=False
        )
    except FileNotFoundError as error:
        raise LabError(f"there is no {command[0]} on this machine") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{' '.join(map(str, command))}: not ended after {timeout:g} s") from error
    if not ok:
        return done.stdout + done.stderr
    if done.returncode:
        raise LabError(f"{' '.join(map(str, command))}: exit status {done.returncode}\n{done.stderr.strip()}")
    return done.stdout


def tool(name: str) -> str:
    """The path of `kind` or `helm`. Raises LabError when it cannot be had; the building says so on stderr."""
    got = subprocess.run([CHECKOUT / "hack/get-tool", name], stdout=subprocess.PIPE, text=True, check=False)
    if got.returncode:
        raise LabError(f"{name} cannot be had: see above")
    return got.stdout.strip()


def in_engine(image: str) -> bool:
    """Whether the local docker engine has an image of that name. Raises LabError when there is no docker."""
    return run("docker", "image", "inspect", "-f", "{{.Id}}", image, ok=False).strip().startswith("sha256:")


def need_image(image: str) -> None:
    """Raise LabError, which says how to get it, when the local docker engine has no image of that name."""
    run("docker", "version", "--format", "{{.Server.Version}}", timeout=20)
    if not in_engine(image):
        raise LabError(f"there is no image {image} to load: `make image` builds it, $IMAGE names another")
