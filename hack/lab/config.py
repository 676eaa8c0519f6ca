"""containerd's configuration for a node of the lab: pure, from options to TOML."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT: Final = "/var/lib/containerd"
STATE: Final = "/run/containerd"
ADDRESS: Final = "/run/containerd/containerd.sock"
NRI_SOCKET: Final = "/run/nri/nri.sock"
PLUGIN_DIR: Final = "/opt/nri/plugins"
PLUGIN_CONF_DIR: Final = "/etc/nri/conf.d"
NO_CDI: Final = "/run/no-cdi"

_SNAPSHOTTERS_NOT_NEEDED: Final = ("aufs", "blockfile", "btrfs", "devmapper", "erofs", "zfs")

Table = dict[str, Any]
"""A TOML table: its values are whatever the runtime's configuration has there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What may differ between two nodes of one series. The defaults are those of a node without native CDI."""

    native_cdi: bool = False
    """The runtime's own `enable_cdi`, always written out. containerd 2.4 has no such switch, its CDI is always on:
    False then gives it an empty spec directory, and it refuses every annotation under `cdi.k8s.io/`."""

    cdi_dirs: Sequence[str] = ("/etc/cdi", "/var/run/cdi")
    """The runtime's own `cdi_spec_dirs`."""

    plugin_registration_timeout: str | None = None
    """In Go's notation ("5s", which is NRI's default)."""

    plugin_request_timeout: str | None = None
    """In Go's notation ("2s", which is NRI's default)."""

    disable_connections: bool = False
    """Refuse NRI plugins that connect on the socket; only those in `PLUGIN_DIR` are then started."""

    pod_annotations: Sequence[str] = ()
    """Which of a pod's annotations the runtime handler copies into its containers ("cdi.k8s.io/*")."""

    handlers: Sequence[str] = ()
    """Names of further runtime handlers; each is the default one again."""

    default_validator: Mapping[str, Any] | None = None
    """Settings of NRI's builtin validator (containerd 2.2 and newer), such as `required_plugins`."""

    extra: Mapping[str, Any] = field(default_factory=dict)
    """A nested table laid over everything else."""


def version(series: str) -> tuple[int, int]:
    """Major and minor version of a series: "2.4" and "2.4-x" are (2, 4)."""
    found = re.match(r"(\d+)\.(\d+)", series)
    if found is None:
        raise ValueError(f"not a containerd series: {series!r}")
    return int(found[1]), int(found[2])


def native_cdi_always(series: str) -> bool:
    """Whether the series has no `enable_cdi`: from 2.4 on the runtime's own CDI cannot be switched off."""
    return version(series) >= (2, 4)


def table(series: str, runc: str, pause: str, options: Options) -> Table:
    """The configuration of containerd `series`, with the runc at a path and the image of pod sandboxes."""
    handler: Table = {
        "runtime_type": "io.containerd.runc.v2",
        "pod_annotations": list(options.pod_annotations),
        "container_annotations": [],
        "options": {"BinaryName": runc, "SystemdCgroup": False},
    }
    cri: Table = {
        "enable_cdi": options.native_cdi,
        "cdi_spec_dirs": list(options.cdi_dirs),
        "disable_apparmor": True,
        # the machine may not let us go below our own
        "restrict_oom_score_adj": True,
        "containerd": {
            "default_runtime_name": "runc",
            "runtimes": dict.fromkeys(("runc", *options.handlers), handler),
        },
    }
    if native_cdi_always(series):
        del cri["enable_cdi"]
        if not options.native_cdi:
            cri["cdi_spec_dirs"] = [NO_CDI]
    nri: Table = {
        "disable": False,
        "disable_connections": options.disable_connections,
        "socket_path": NRI_SOCKET,
        "plugin_path": PLUGIN_DIR,
        "plugin_config_path": PLUGIN_CONF_DIR,
    }
    if options.plugin_registration_timeout is not None:
        nri["plugin_registration_timeout"] = options.plugin_registration_timeout
    if options.plugin_request_timeout is not None:
        nri["plugin_request_timeout"] = options.plugin_request_timeout
    if options.default_validator is not None:
        nri["default_validator"] = dict(options.default_validator)
    plugins: Table = {"io.containerd.nri.v1.nri": nri}
    if version(series) < (2, 0):
        plugins["io.containerd.grpc.v1.cri"] = {**cri, "sandbox_image": pause}
    else:
        plugins["io.containerd.cri.v1.runtime"] = cri
        plugins["io.containerd.cri.v1.images"] = {"pinned_images": {"sandbox": pause}}
    result: Table = {
        "version": 2 if version(series) < (2, 0) else 3,
        "root": ROOT,
        "state": STATE,
        "disabled_plugins": [f"io.containerd.snapshotter.v1.{name}" for name in _SNAPSHOTTERS_NOT_NEEDED],
        "grpc": {"address": ADDRESS},
        "ttrpc": {"address": f"{ADDRESS}.ttrpc"},
        "debug": {"level": "debug"},
        "plugins": plugins,
    }
    return merged(result, options.extra)


def merged(base: Mapping[str, Any], extra: Mapping[str, Any]) -> Table:
    """`extra` laid over `base`, table by table; neither is changed."""
    result = dict(base)
    for key, value in extra.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result


def toml(content: Mapping[str, Any], path: tuple[str, ...] = ()) -> str:
    """A nested table of strings, numbers, booleans and lists of those, as TOML."""
    lines = [f"{key} = {_value(value)}" for key, value in content.items() if not isinstance(value, dict)]
    head = ["[" + ".".join(_value(part) for part in path) + "]"] if path and lines else []
    text = "".join(f"{line}\n" for line in (*head, *lines))
    for key, value in content.items():
        if isinstance(value, dict):
            below = toml(value, (*path, key))
            text += "\n" + below if below else ""
    return text


def _value(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    # JSON's strings, numbers and booleans are TOML's, as long as nothing outside the BMP is escaped
    return json.dumps(value, ensure_ascii=False)
