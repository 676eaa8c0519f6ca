"""Where `hack/get-runtime` puts the container runtimes, and what to do when one is missing."""

from __future__ import annotations

import os
from pathlib import Path

from lab.sandbox import which
from lab.trouble import LabError


def cache() -> Path:
    """The directory outside the checkout that keeps runtimes and images: $NRI_CDI_CACHE, or ~/.cache/nri-cdi."""
    return Path(os.environ.get("NRI_CDI_CACHE") or Path.home() / ".cache" / "nri-cdi")


def containerd(series: str) -> Path:
    """The directory with containerd, ctr and the shim of a series ("1.7"). Raises LabError when they are not there."""
    directory = cache() / "runtimes" / series / "bin"
    if not all(os.access(directory / name, os.X_OK) for name in ("containerd", "ctr", "containerd-shim-runc-v2")):
        raise LabError(f"containerd {series} is not in {directory}: run `hack/get-runtime {series}`")
    return directory


def runc(series: str | None) -> Path:
    """The runc of a series ("1.5"), or the machine's for None. Raises LabError when it is not there."""
    if series is None:
        try:
            return Path(which("runc"))
        except LabError:
            raise LabError("runc is not on this machine: install it (on Debian: `apt-get install runc`)") from None
    path = cache() / "runtimes" / f"runc-{series}" / "bin" / "runc"
    if not os.access(path, os.X_OK):
        raise LabError(f"runc {series} is not at {path}: run `hack/get-runtime runc-{series}`")
    return path
