"""Whether a node has what nri-cdi needs, as findings for a person. It looks and changes nothing."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from nri_cdi.cdi import Snapshot, scan_directories
from nri_cdi.host.root import HostRoot
from nri_cdi.inject import InjectPlugin, Stance
from nri_cdi.kubelet.candidates import candidates
from nri_cdi.kubelet.directories import Directories
from nri_cdi.kubelet.names import resource_names
from nri_cdi.readiness import Slots, ask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nri_cdi.settings import Settings

_SHOWN: Final = 3
"""Devices with a problem that are named for each resource."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, whether it is well, what was seen, and what to do where it is not."""

    about: str
    well: bool
    what: str
    todo: str = ""


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at the spec files, the resources' devices, the runtime, the NRI half and the kubelet, in this order.

    Raises ValueError for resources that cannot be, as the kubelet half does.
    """
    snapshot = Snapshot.build(scan_directories(settings.cdi_dir))
    yield from _specs(snapshot, settings)
    yield from _resources(snapshot, settings)
    yield _runtime(settings)
    yield _nri_half(settings)
    yield from _kubelet(settings)


def _specs(snapshot: Snapshot, settings: Settings) -> Iterator[Finding]:
    about = "CDI specs"
    for path, errors in snapshot.errors.items():
        yield Finding(about, well=False, what=str(errors[0]), todo=f"nri-cdi cdi validate {path} says it all")
    for name, paths in snapshot.conflicts.items():
        what = f"{name} is defined by {' and '.join(paths)}, of the same priority: it does not resolve"
        yield Finding(about, well=False, what=what, todo="remove it from one of them")
    directories = ", ".join(settings.cdi_dir)
    if snapshot.devices:
        yield Finding(about, well=True, what=f"{_count(len(snapshot.devices), 'device')} in {directories}")
    else:
        todo = "put a spec file there, or name its directory: --cdi-dir DIR"
        yield Finding(about, well=False, what=f"no device in {directories}", todo=todo)


def _resources(snapshot: Snapshot, settings: Settings) -> Iterator[Finding]:
    """Each resource that is named: whether a container would get its devices now."""
    plugin = InjectPlugin(lambda _: snapshot, HostRoot(settings.host_root), Stance(settings.annotation_prefix))
    for kind, resource in resource_names(settings.resource).items():
        about = f"resource {resource}"
        names = [name for name, candidate in candidates(snapshot, [kind]).candidates.items() if not candidate.transient]
        problems = {name: problem for name in names if (problem := plugin.check([name])) is not None}
        for name in list(problems)[:_SHOWN]:
            what, _, todo = problems[name].partition("; ")
            yield Finding(about, well=False, what=f"{name}: {what}", todo=todo)
        more = f"; {len(problems)} of them cannot be given to a container now" if problems else ""
        if names:
            yield Finding(about, well=not problems, what=f"{_count(len(names), 'device')}{more}")
        else:
            todo = "nri-cdi cdi devices shows what the node has"
            yield Finding(about, well=False, what=f"no spec file defines a device of {kind}", todo=todo)


def _runtime(settings: Settings) -> Finding:
    about, path = "container runtime", settings.nri_socket
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116  # one call, one error
    except OSError as error:
        what = f"its NRI socket cannot be reached: {path}: {error.strerror}"
        todo = "is NRI on? nri-cdi containerd-config 2 prints what containerd's configuration must say; --nri-socket names another place"
        return Finding(about, well=False, what=what, todo=todo)
    if not stat.S_ISSOCK(mode):
        return Finding(about, well=False, what=f"{path} is no socket", todo="--nri-socket names another place")
    return Finding(about, well=True, what=f"its NRI socket is {path}")


def _nri_half(settings: Settings) -> Finding:
    about = "NRI half"
    problem = ask(Slots(settings.run_dir, settings.nri_socket), ())
    if problem is None:
        return Finding(about, well=True, what="synchronized with the container runtime")
    return Finding(
        about, well=False, what=problem, todo="start one, as with nri-cdi nri; the log of one that runs says more"
    )


def _kubelet(settings: Settings) -> Iterator[Finding]:
    about, directories = "kubelet", Directories.of(settings.kubelet_dir)
    path, asked = (place / "kubelet.sock" for place in (directories.device_plugins, directories.pod_resources))
    try:
        path.stat()
    except OSError as error:
        what = f"its socket cannot be reached: {path}: {error.strerror}"
        yield Finding(about, well=False, what=what, todo="is it running? --kubelet-dir names another place")
        return
    yield Finding(about, well=True, what=f"its socket is {path}")
    try:
        asked.stat()
    except OSError as error:
        what = f"it cannot be asked whether another device plugin has a resource: {asked}: {error.strerror}"
        yield Finding(about, well=False, what=what, todo="--kubelet-dir names its --root-dir")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
