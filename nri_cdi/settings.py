"""Every setting of the agent in one place: its flag, its environment variable, its key in the YAML file, its default and its reason.

A flag goes before the environment, the environment before the file, the file before the default. The flag `--cdi-dir` is the variable
`NRI_CDI_CDI_DIR` and the key `cdi-dir`; a setting that is a list is given by repeating the flag, by commas in the variable, by a YAML list in
the file.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ENV_PREFIX: Final = "NRI_CDI_"

_OF_A_SERVICE: Final = re.compile(
    rf"{ENV_PREFIX}(.*_)?(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)
"""Variables that the kubelet makes of a Service whose name begins with nri-cdi: no settings, and nobody's mistake."""

_UNREADABLE: Final = 3  # the exit status of settings_file for a file that cannot be read


class SettingsError(Exception):
    """A setting is wrong; the text says where it was given and what to write instead."""


def _setting(default: Any, metavar: str, help_: str) -> Any:  # noqa: ANN401  # what dataclasses.field itself does
    """A field with what the command line says of it."""
    return field(default=default, metadata={"metavar": metavar, "help": help_})


@dataclass(frozen=True, slots=True)
class Settings:
    """The agent's settings, checked."""

    resource: tuple[str, ...] = _setting(
        (),
        "KIND[=RESOURCE]",
        "a CDI kind whose devices are advertised as the extended resource of that name, or of the other one; nothing else is",
    )
    """No default: nothing is advertised that nobody named."""

    cdi_dir: tuple[str, ...] = _setting(
        ("/etc/cdi", "/var/run/cdi"), "DIR", "a directory of CDI spec files; a later one has priority"
    )
    """The specification's own directories."""

    nri_socket: str = _setting("/var/run/nri/nri.sock", "PATH", "the runtime's NRI socket")
    """containerd's default."""

    plugin_name: str = _setting("nri-cdi", "NAME", "the name under which the NRI half registers")
    plugin_index: str = _setting("10", "NN", "its place in the order of NRI plugins, two digits")
    """Early, so that plugins that look at devices see ours."""

    kubelet_dir: str = _setting(
        "/var/lib/kubelet",
        "DIR",
        "the kubelet's --root-dir; its device-plugins/ is looked for there, and is else in /var/lib/kubelet",
    )
    """The kubelet's own. device-plugins/ is a constant of it, whatever its --root-dir."""

    host_root: str = _setting("/", "DIR", "where the host's file system is seen; /host or the like in a pod")
    run_dir: str = _setting("/run/nri-cdi", "DIR", "where the two halves meet: a lock and a socket for each NRI half")
    annotation_prefix: str = _setting(
        "cdi.k8s.io/", "PREFIX", "the annotation prefix of CDI devices; both halves must have the same"
    )
    """CDI's own. Another one keeps the runtime's own CDI out."""

    guard: bool = _setting(
        True,  # noqa: FBT003  # a default
        "on|off",
        "whether Allocate adds the mounts that keep a container from starting without us",
    )
    """On: without it a container starts without its devices when nobody of us is there."""

    deadline: float = _setting(
        0.0,
        "SECONDS",
        "after how long we refuse in place of a decision that does not come; 0: half of the runtime's own time, at most 0.24",
    )
    """Well under the time (2 s) after which the runtime would create the container without its devices, and under what others notice
    whose containers wait behind it in the runtime."""

    pre_start: bool = _setting(
        True,  # noqa: FBT003  # a default
        "on|off",
        "whether no container is created while the NRI half is away or would refuse it (PreStartContainer)",
    )
    """On: the kubelet shows the reason and tries again, before anything of the container exists."""

    start_gate: bool = _setting(
        True,  # noqa: FBT003  # a default
        "on|off",
        "whether a container that is about to start must have all that was promised at its creation",
    )
    """On: it catches containers that were created while we were away, and plugins that take something away again."""

    strict_link: bool = _setting(
        False,  # noqa: FBT003  # a default
        "on|off",
        "whether the runtime is asked to refuse every container during which we fail (containerd 2.2 and newer)",
    )
    """Off: it holds for containers without devices too, which we never want to be in the way of."""

    mode: str = _setting("enforce", "MODE", "enforce, or observe: decide and log, change nothing, set no guards")
    foreign_keys: str = _setting(
        "inject", "HOW", "what to do with CDI keys that other device plugins wrote: inject them, or ignore them"
    )
    """Inject: as the runtime's own CDI would."""

    trust_pod_annotations: bool = _setting(
        False,  # noqa: FBT003  # a default
        "on|off",
        "whether CDI keys that stand on the pod, where its author can write them, are believed; allocation keys never are",
    )
    allow_kind: tuple[str, ...] = _setting(
        (), "PATTERN", "a shell pattern of CDI kinds: others are refused; without it all are allowed"
    )
    allow_namespace: tuple[str, ...] = _setting(
        (), "PATTERN", "a shell pattern of namespaces whose pods may have CDI devices; without it all may"
    )
    allow_hook: tuple[str, ...] = _setting(
        (), "PATH", "a hook program, or a directory of them, that CDI devices may bring; without it all are allowed"
    )
    allow_mount: tuple[str, ...] = _setting(
        (), "PATH", "a host path that CDI devices may mount, with all below it; without it all are allowed"
    )
    """The four lists: a CDI spec can run programs as root on the node; not everybody who writes one is to be trusted with that."""

    http: str = _setting("", "ADDR", "where /healthz, /readyz and /metrics are, such as :9810; nowhere without it")
    """Off: outside a cluster nobody asks. In a pod each container has a port of its own."""

    registration: str = _setting(
        "kubelet.sock", "WAY", "how the kubelet learns of a resource: kubelet.sock or plugins-registry, never both"
    )
    """kubelet.sock works with every kubelet. With plugins-registry (a mount more in a pod) a new kubelet finds us by itself."""

    preferred: str = _setting(
        "packed",
        "HOW",
        "which free devices a container gets: packed (by NUMA node and PCI root), spread (over them) or in-order",
    )
    """Packed: near devices talk faster, and room for big requests is kept."""

    include: tuple[str, ...] = _setting(
        (), "PATTERN", "a shell pattern of qualified device names: only what matches one is advertised"
    )
    exclude: tuple[str, ...] = _setting(
        (), "PATTERN", "a shell pattern of qualified device names: what matches one is never advertised"
    )
    prefer: tuple[str, ...] = _setting(
        (), "PATTERN", "a shell pattern of qualified device names: of the names of one host device these are advertised"
    )
    shared_node: tuple[str, ...] = _setting(
        (
            "/dev/kfd",
            "/dev/vfio/vfio",
            "/dev/iommu",
            "/dev/nvidiactl",
            "/dev/nvidia-uvm*",
            "/dev/nvidia-modeset",
            "/dev/nvidia-caps-imex-channels/*",
            "/dev/dxg",
            "/dev/davinci_manager",
            "/dev/devmm_svm",
            "/dev/hisi_hdc",
            "/dev/infiniband/rdma_cm",
            "/dev/fuse",
            "/dev/kvm",
            "/dev/net/tun",
            "/dev/vhost-*",
        ),
        "PATTERN",
        "a shell pattern of device nodes that many devices share: they do not make two names the same device",
    )
    """The control nodes that vendors' specs put into each of their devices."""

    settle: float = _setting(
        60.0, "SECONDS", "how long a device that was advertised before stays healthy after our start, whatever is seen"
    )
    """Drivers make their nodes late after a boot, and an unhealthy device would end the pods that wait for it."""

    settle_specs: float = _setting(
        10.0, "SECONDS", "how long a device stays healthy after its spec file changed, broke or went away"
    )
    """Generators remove and write files; a second or two is usual."""

    unhealthy_after: float = _setting(
        120.0,
        "SECONDS",
        "how long the NRI half may be away until all devices are unhealthy; 0: they never are for that",
    )
    """Long: until then containers are held and go on by themselves, afterwards waiting pods fail and go to other nodes."""

    log_level: str = _setting("info", "LEVEL", "debug, info, warning or error")
    log_format: str = _setting("text", "FORMAT", "text for people, json for programs")


@dataclass(frozen=True, slots=True)
class _Origin:
    """A value as it was given, and where."""

    value: object
    where: str


def names() -> tuple[str, ...]:
    """The names of all settings: `cdi-dir` and so on."""
    return tuple(f.name.replace("_", "-") for f in fields(Settings))


def load(flags: Mapping[str, object], environment: Mapping[str, str], config: str | None) -> Settings:
    """The settings from flags (by setting name; None or absent: not given), environment variables and the YAML file `config`.

    Raises SettingsError, and OSError when the file cannot be read.
    """
    given: dict[str, _Origin] = dict(_from_file(config)) if config else {}
    for key, text in environment.items():
        if key.startswith(ENV_PREFIX) and not _OF_A_SERVICE.fullmatch(key):
            name = key[len(ENV_PREFIX) :].lower().replace("_", "-")
            if name in names():
                is_list = isinstance(getattr(Settings(), name.replace("-", "_")), tuple)
                given[name] = _Origin(
                    [part.strip() for part in text.split(",") if part.strip()] if is_list else text,
                    f"the environment: {key}",
                )
            elif name != "config":
                raise SettingsError(f"the environment: {key} is no setting{_like(name)}; remove it")
    given |= {name: _Origin(value, f"--{name}") for name, value in flags.items() if value is not None}
    values: dict[str, Any] = {name.replace("-", "_"): _checked(name, origin) for name, origin in given.items()}
    return Settings(**values)


def _from_file(path: str) -> dict[str, _Origin]:
    """The settings in a YAML file. It is read by a child process: this one never loads a YAML parser."""
    child = subprocess.run(  # noqa: S603  # our own module
        [sys.executable, "-m", "nri_cdi.settings_file", path],
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if child.returncode == _UNREADABLE:
        raise OSError(child.stderr.decode(errors="replace").strip())
    if child.returncode:
        raise SettingsError(child.stderr.decode(errors="replace").strip() or f"{path}: the reading process ended")
    given = {}
    for name, (value, line) in json.loads(child.stdout).items():
        if name not in names():
            raise SettingsError(f'{path}:{line}: unknown key "{name}"{_like(name)}; the keys are {", ".join(names())}')
        given[name] = _Origin(value, f"{path}:{line}: {name}")
    return given


def _like(name: str) -> str:
    import difflib  # noqa: PLC0415  # only for an error

    near = difflib.get_close_matches(name, names(), 1)
    return f", did you mean {near[0]}?" if near else ""


_KIND: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*[A-Za-z0-9]/[A-Za-z](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?")
_PATTERN: Final = r"[^\s,]*/[^\s,]*=[^\s,]+|\*=[^\s,]+"
_PATTERN_EXPECTED: Final = "patterns of qualified names, such as nvidia.com/gpu=GPU-* or *=all"
_SECONDS: Final = r"[0-9]{1,6}(\.[0-9]{1,3})?"
_SECONDS_EXPECTED: Final = "seconds, such as 60 or 0.5"
_PORT: Final = r"([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_RULES: Final = {
    "plugin-index": (r"[0-9][0-9]", "two digits, such as 10"),
    "plugin-name": (r"[A-Za-z0-9_.+-]+", "letters, digits and _ . + -, such as nri-cdi"),
    "annotation-prefix": (
        r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?/",
        "a DNS name with a slash at its end, such as cdi.k8s.io/",
    ),
    "nri-socket": (r"/.+", "an absolute path"),
    "kubelet-dir": (r"/.*", "an absolute path"),
    "host-root": (r"/.*", "an absolute path"),
    "run-dir": (r"/.+", "an absolute path"),
    "cdi-dir": (r"/.*", "absolute paths"),
    "http": (
        rf"(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]*):{_PORT}",
        "an address with a port from 1 to 65535, such as :9810 or 127.0.0.1:9810",
    ),
    "log-level": (r"debug|info|warning|error", "debug, info, warning or error"),
    "log-format": (r"text|json", "text or json"),
    "resource": (
        rf"{_KIND.pattern}(=\S+)?",
        "CDI kinds, such as device.example.com/gpu, or kinds with a resource name, such as Vendor.com/gpu=vendor.com/gpu",
    ),
    "deadline": (_SECONDS, "seconds, such as 0.8, or 0"),
    "mode": (r"enforce|observe", "enforce or observe"),
    "foreign-keys": (r"inject|ignore", "inject or ignore"),
    "allow-kind": (r"[^\s,]+", "CDI kinds or patterns of them, such as vendor.com/*"),
    "allow-namespace": (r"[^\s,/]+", "namespaces or patterns of them, such as team-*"),
    "allow-hook": (r"/.*", "absolute paths"),
    "allow-mount": (r"/.*", "absolute paths"),
    "registration": (r"kubelet\.sock|plugins-registry", "kubelet.sock or plugins-registry"),
    "preferred": (r"packed|spread|in-order", "packed, spread or in-order"),
    "include": (_PATTERN, _PATTERN_EXPECTED),
    "exclude": (_PATTERN, _PATTERN_EXPECTED),
    "prefer": (_PATTERN, _PATTERN_EXPECTED),
    "shared-node": (r"/.+", "absolute paths or patterns of them, such as /dev/kfd"),
    "settle": (_SECONDS, _SECONDS_EXPECTED),
    "settle-specs": (_SECONDS, _SECONDS_EXPECTED),
    "unhealthy-after": (_SECONDS, _SECONDS_EXPECTED),
}
_SWITCH: Final = {"on": True, "true": True, "off": False, "false": False}


def _checked(name: str, origin: _Origin) -> object:
    """The value in the setting's own type. Raises SettingsError."""
    default = getattr(Settings(), name.replace("-", "_"))
    value = origin.value
    if isinstance(default, bool):
        switch = value if isinstance(value, bool) else _SWITCH.get(str(value).lower())
        if switch is None:
            raise SettingsError(f'{origin.where}: "{value}" is neither on nor off')
        return switch
    rule, expected = _RULES[name]
    parts: Sequence[object] = value if isinstance(value, (list, tuple)) else [value]
    if not isinstance(default, tuple) and len(parts) != 1:
        raise SettingsError(f"{origin.where}: takes one value, not a list; write {expected}")
    for part in parts:
        if not isinstance(part, str) or not re.fullmatch(rule, part):
            raise SettingsError(f"{origin.where}: {json.dumps(part)} is not right; write {expected}")
    if isinstance(default, tuple):
        return tuple(parts)
    return float(str(parts[0])) if isinstance(default, float) else parts[0]
