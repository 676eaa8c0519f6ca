"""A container as it runs, compared with what it is to have: from the OCI spec, from inside, and from outside. Pure, but for `outside`, which looks."""

from __future__ import annotations

import copy
import os
import stat
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lab import mock
from lab.oci import differences

from nri_cdi.allocation import GUARD_ROOT, MARK_DOMAIN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaoslab.world import Wanted

DIRECTORIES: Final = ("/dev/mock", "/dev/chaos")
NONE: Final[Mapping[str, tuple[int, int]]] = {}

_ALLOWED: Final = "No such device or address"
_FORBIDDEN: Final = "Operation not permitted"
_OTHER: Final = 250  # a minor number that nobody is given

COVER: Final = {"type": "tmpfs"}
"""What lies on the guard's parent where the runtime cannot take a mount away."""

_NAME: Final = "io.kubernetes.cri.container-name"

SCRIPT: Final = f"""\
for f in /dev/mock/* /dev/chaos/*; do
  [ -e "$f" ] || continue
  echo "node|$f|$(stat -c '%F|%t|%T' "$f")"
  e=$(cat "$f" 2>&1 >/dev/null); echo "read|$f|${{e##*: }}"
  e=$( (: >>"$f") 2>&1 ); echo "write|$f|${{e##*: }}"
done
for f in /mock/lib/* /mock/chaos/*; do [ -e "$f" ] && echo "file|$f|$(cat "$f")"; done
env | sed -n 's/^\\(MOCK_\\|CHAOS_\\)/env|\\1/p'
[ -e {GUARD_ROOT} ] && echo "guard|$(stat -c %F {GUARD_ROOT})"
mknod /tmp/other c {mock.MAJOR} {_OTHER}; e=$(cat /tmp/other 2>&1); echo "other|${{e##*: }}"
rm -f /tmp/other
"""
"""What is run in each container to look at it from inside."""


def wrong_spec(spec: dict[str, Any], baseline: dict[str, Any], wanted: Wanted | None) -> list[str]:
    """What in the container's OCI spec is not as it must be.

    `baseline` is the spec of a container of the same shape, made on the same node without nri-cdi: what the container has beyond it must be exactly
    what is wanted, and the rest must be equal. Both are `lab.oci.comparable`.
    """
    mine, base = _nameless(spec), _nameless(baseline)
    if wanted is None:
        return [f"{at} is {seen!r}, not {was!r}" for at, (was, seen) in differences(base, mine).items()]
    problems = []
    there = {item["path"] for item in _taken(base, "devices")}
    nodes = {
        item["path"]: (item["type"], item["major"], item["minor"])
        for item in _taken(mine, "devices")
        if item["path"] not in there
    }
    problems += _unequal("device nodes", {path: ("c", *numbers) for path, numbers in wanted.nodes.items()}, nodes)
    rules = Counter(map(_rule, mine["linux"]["resources"].pop("devices", [])))
    rules -= Counter(map(_rule, base["linux"]["resources"].pop("devices", [])))
    problems += _unequal(
        "device rules",
        sorted((True, "c", *numbers, "rw") for numbers in wanted.nodes.values()),
        sorted(rules.elements()),
    )
    problems += _wrong_mounts(mine, base, wanted)
    env = set(mine["process"].pop("env")) - set(base["process"].pop("env"))
    problems += _unequal("variables", set(wanted.env), env)
    annotations = mine.get("annotations", {})
    marks = [key for key in annotations if key.startswith(MARK_DOMAIN)]
    problems += _unequal("marks", wanted.allocations, len(marks))
    for key in marks:
        del annotations[key]
    problems += [f"{at} is {seen!r}, not {was!r}" for at, (was, seen) in differences(base, mine).items()]
    return problems


def _nameless(spec: dict[str, Any]) -> dict[str, Any]:
    """A copy of the spec that does not say the container's name."""
    result = copy.deepcopy(spec)
    del result["annotations"][_NAME]
    return result


def _taken(spec: dict[str, Any], key: str) -> list[dict[str, Any]]:
    taken: list[dict[str, Any]] = spec["linux"].pop(key, None) or []
    return taken


def _rule(rule: dict[str, Any]) -> tuple[bool, str, int, int, str]:
    # the runtime allows a device's node with or without mknod; what is promised is reading and writing
    access = (
        str(rule.get("access", "")).replace("rwm", "rw") if rule.get("major") == mock.MAJOR else str(rule.get("access"))
    )
    return (
        bool(rule.get("allow")),
        str(rule.get("type")),
        int(rule.get("major", -1)),
        int(rule.get("minor", -1)),
        access,
    )


def _wrong_mounts(mine: dict[str, Any], base: dict[str, Any], wanted: Wanted) -> list[str]:
    there = {item["destination"] for item in base.pop("mounts")}
    new = {item["destination"]: item for item in mine.pop("mounts") if item["destination"] not in there}
    guards = {at: new.pop(at) for at in list(new) if at == GUARD_ROOT or at.startswith(f"{GUARD_ROOT}/")}
    problems = []
    # it is the parent that guards; a child that is left below a sound directory is a null device, no more
    if guards.get(GUARD_ROOT, COVER)["type"] != COVER["type"]:
        problems.append(f"the guard stands: {sorted(guards)}")
    problems += _unequal("mounts", set(wanted.files), set(new))
    problems += [f"{at} is bound from {item['source']}" for at, item in new.items() if item["source"] != at]
    problems += [f"{at} is writable" for at, item in new.items() if "ro" not in item["options"]]
    return problems


def wrong_inside(output: str, wanted: Wanted | None) -> list[str]:
    """What `SCRIPT` saw in the container that is not as it must be."""
    seen: dict[str, dict[str, str]] = {}
    for line in output.splitlines():
        what, _, rest = line.partition("|")
        name, _, value = rest.partition("|")
        seen.setdefault(what, {})[name] = value
    nodes = {} if wanted is None else wanted.nodes
    files = {} if wanted is None else wanted.files
    problems = _unequal(
        "nodes inside",
        {path: f"character special file|{major:x}|{minor:x}" for path, (major, minor) in nodes.items()},
        seen.get("node", {}),
    )
    for how in ("read", "write"):
        problems += _unequal(f"to {how} them answers", dict.fromkeys(nodes, _ALLOWED), seen.get(how, {}))
    problems += _unequal("files inside", {at: text.rstrip("\n") for at, text in files.items()}, seen.get("file", {}))
    problems += _unequal("variables inside", set() if wanted is None else set(wanted.env), set(seen.get("env", {})))
    problems += _unequal("another device answers", {_FORBIDDEN: ""}, seen.get("other", {}))
    if not set(seen.get("guard", {})) <= ({"directory"} if nodes else set()):
        problems.append(f"the guard stands inside: {seen['guard']}")
    return problems


@dataclass(frozen=True, slots=True)
class Outside:
    """A container's process as the machine sees it."""

    nodes: dict[str, tuple[str, int, int]]
    """In `DIRECTORIES` of its mount namespace: type, major and minor by path."""
    rules: tuple[str, ...] | None
    """The rules of its device cgroup for the mock's major number, in the kernel's words; None where it does not list them (cgroup v2)."""


def outside(sandbox_root: Path, pid: int) -> Outside:
    """Look at a container from outside, by its process `pid` as the runtime knows it. Raises OSError when it has ended."""
    process = sandbox_root / "proc" / str(pid)
    return Outside(_nodes(process / "root"), _rules(process))


def wrong_outside(seen: Outside, wanted: Wanted | None) -> list[str]:
    """What is not as it must be, from outside."""
    nodes = NONE if wanted is None else wanted.nodes
    problems = _unequal("nodes from outside", {path: ("c", *numbers) for path, numbers in nodes.items()}, seen.nodes)
    if seen.rules is not None:
        rules = tuple(sorted(f"c {major}:{minor} rw" for major, minor in nodes.values()))
        problems += _unequal("the kernel's device rules", rules, seen.rules)
    return problems


def _nodes(root: Path) -> dict[str, tuple[str, int, int]]:
    found = {}
    for directory in DIRECTORIES:
        try:
            names = sorted(os.listdir(root / directory[1:]))  # noqa: PTH208 - names are wanted
        except FileNotFoundError:
            continue
        for name in names:
            info = (root / directory[1:] / name).lstat()
            kind = "c" if stat.S_ISCHR(info.st_mode) else "?"
            found[f"{directory}/{name}"] = (kind, os.major(info.st_rdev), os.minor(info.st_rdev))
    return found


def _rules(process: Path) -> tuple[str, ...] | None:
    for line in (process / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "devices" in controllers.split(","):
            listed = Path(f"/sys/fs/cgroup/devices{path}/devices.list").read_text().splitlines()
            return tuple(sorted(rule.replace("rwm", "rw") for rule in listed if f" {mock.MAJOR}:" in rule))
    return None


def _unequal(what: str, expected: object, seen: object) -> list[str]:
    return [] if expected == seen else [f"{what}: {seen}, not {expected}"]
