"""Unusual containers with CDI keys, each with its one outcome: docs/data/outcomes.toml, which docs/fail-closed.md shows and a test carries out."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lab import cri_api as api
from lab.rival import annotation
from lab.served import allocated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FILE: Final = Path(__file__).resolve().parents[2] / "docs" / "data" / "outcomes.toml"
SPEC: Final = {
    "cdiVersion": "0.6.0",
    "kind": "device.example.com/other",
    "devices": [
        {
            "name": "all",
            "containerEdits": {
                "env": ["OTHER=cdi"],
                "deviceNodes": [{"path": "/dev/other", "hostPath": "/dev/mock/device_7"}],
                "mounts": [{"hostPath": "/mock/lib", "containerPath": "/other", "options": ["rbind", "ro"]}],
            },
        }
    ],
}
"""A device that brings one of each, beside the mock devices."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A container and what becomes of it."""

    name: str
    what: str
    """The input, for people."""
    result: str
    """What becomes of the container, for people."""
    own: Sequence[str] = ()
    """Qualified names, all in one allocation for each resource."""
    own_value: str | None = None
    """The value that the allocation's key has instead."""
    foreign: Sequence[str] = ()
    """Values of other device plugins' keys."""
    padded: int = 0
    """The last foreign value is repeated until it has so many bytes."""
    on_pod: bool = False
    """Whether the keys stand on the pod, too."""
    container: Mapping[str, str] = field(default_factory=dict)
    """What the container has already: `env`, `mount` (a destination), `device` (a path)."""
    rival: Mapping[str, str] = field(default_factory=dict)
    """What another NRI plugin does, by its index, as an adjustment in JSON."""
    refused: str = ""
    """A part of the text of the refusal at creation; empty if the container runs."""
    reason: str = ""
    """Of the refusal, if it is ours."""
    inside: str = ""
    """What `look` prints in a container that runs."""

    def config(self, prefix: str) -> api.ContainerConfig:
        """The container as the kubelet asks for it."""
        result = allocated(prefix, self.own) if self.own else api.ContainerConfig()
        for key in list(result.annotations) if self.own_value is not None else ():
            result.annotations[key] = self.own_value or ""
        for number, value in enumerate(self.foreign):
            wanted = value * -(-self.padded // len(value)) if self.padded else value
            result.annotations[f"{prefix}other-plugin_{number}"] = wanted.rstrip(",") if self.padded else wanted
        for index, adjustment in self.rival.items():
            result.annotations[annotation(index)] = adjustment
        if "env" in self.container:
            name, _, value = self.container["env"].partition("=")
            result.envs.append(api.KeyValue(key=name, value=value))
        if "mount" in self.container:
            result.mounts.append(api.Mount(container_path=self.container["mount"], host_path="/etc"))
        if "device" in self.container:
            result.devices.append(
                api.Device(container_path=self.container["device"], host_path="/dev/null", permissions="rw")
            )
        return result


LOOK: Final = "cd /dev; ls -d mock/* other 2>/dev/null; env | grep ^OTHER; ls /other 2>/dev/null | head -n1; test ! -c /.nri-cdi || echo guarded"
"""What is looked at in a container that runs."""


def load() -> tuple[Outcome, ...]:
    """All outcomes, in the order of the file."""
    return tuple(Outcome(**table) for table in tomllib.loads(FILE.read_text())["outcome"])


def table(outcomes: Sequence[Outcome]) -> str:
    """The outcomes as the page shows them."""
    rows = ["| the container | what becomes of it |", "| --- | --- |"]
    for one in outcomes:
        text = f": `{one.refused}`" if one.refused else ""
        reason = f" ({one.reason})" if one.reason else ""
        rows.append(f"| {one.what} | {one.result}{text}{reason} |")
    return "\n".join(rows)
