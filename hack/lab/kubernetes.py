"""Where the programs of Kubernetes are: in the cache, where `hack/get-kubernetes` puts them, or in PATH; and what to do when one is missing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lab.runtimes import cache
from lab.sandbox import which
from lab.trouble import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping

_BUILT: Final[tuple[str, ...]] = ("kubelet", "kube-apiserver", "kube-scheduler", "kube-controller-manager", "kubectl")
_PACKAGED: Final[tuple[str, ...]] = ("etcd", "ip", "openssl")
_CNI: Final = ("ptp", "loopback", "host-local")
_CNI_PLACE: Final = Path("/opt/cni/bin")


@dataclass(frozen=True, slots=True)
class Parts:
    """The programs of a one-node Kubernetes by name, and the directory of its CNI plugins."""

    programs: Mapping[str, str]
    cni: Path


def parts() -> Parts:
    """All of them. Raises LabError that names what is missing and how to get it."""
    programs: dict[str, str] = {}
    missing: list[str] = []
    built = cache() / "kubernetes" / "current" / "bin"
    for name in (*_BUILT, *_PACKAGED):
        if name in _BUILT and os.access(built / name, os.X_OK):
            programs[name] = str(built / name)
            continue
        try:
            programs[name] = which(name)
        except LabError:
            missing.append(name)
    cni = next((place for place in (cache() / "kubernetes" / "cni" / "bin", _CNI_PLACE) if _has_all(place)), None)
    if missing or cni is None:
        names = ", ".join([*missing, *(() if cni else ("the CNI plugins " + ", ".join(_CNI),))])
        raise LabError(f"parts of Kubernetes are missing ({names}): run `hack/get-kubernetes`")
    return Parts(programs, cni)


def _has_all(place: Path) -> bool:
    return all(os.access(place / name, os.X_OK) for name in _CNI)
