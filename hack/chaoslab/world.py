"""The world of a run: two kinds of devices without hardware, the kinds of containers, and what exactly each is to have.

`device.example.com/gpu` are the mock devices, in a YAML file that gives their numbers. `chaos.example.com/nic` are in a JSON file in the
other spec directory that leaves the numbers open: they are the host node's, so a node that is missing matters.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lab import cri_api as api
from lab import mock
from lab.served import allocated

if TYPE_CHECKING:
    import random
    from pathlib import Path

NIC: Final = "chaos.example.com/nic"
NICS: Final = 4
NIC_MINOR: Final = 100
"""nic_0's minor number; the major is that of the mock devices."""

GPU_SPEC: Final = "/etc/cdi/device.example.com-gpu.yaml"
NIC_SPEC: Final = "/run/cdi/nic.json"
BYSTANDER_SPEC: Final = "/etc/cdi/zz-bystander.json"
RICH_DIRECTORY: Final = "/mock/chaos"

FOREIGN_KEY: Final = "other.example_plugin"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a container is to have by its CDI names, all of it and nothing else."""

    nodes: dict[str, tuple[int, int]]
    """Major and minor by path; all are character devices, to be opened for reading and writing."""
    files: dict[str, str]
    """Content by path; each is bound from the same path of the host, read-only."""
    env: frozenset[str]
    allocations: int
    """How many keys of ours it carries: each leaves a mark."""


@dataclass(frozen=True, slots=True)
class Order:
    """A container to be asked for."""

    kind: str
    config: api.ContainerConfig
    wanted: Wanted | None
    """None for a container without a CDI key."""
    may_lack: bool
    """Whether it may start without them all: foreign keys are injected, but nobody guards them."""

    @property
    def shape(self) -> str:
        """Which keyless container it is to be compared with."""
        return self.kind if self.wanted is None else "plain"


def nic(number: int) -> str:
    """The qualified name of a nic."""
    return f"{NIC}=nic_{number}"


def gpu_spec() -> str:
    """The content of `GPU_SPEC`."""
    return mock.spec()


def nic_spec() -> str:
    """The content of `NIC_SPEC`."""
    devices = [
        {
            "name": f"nic_{number}",
            "containerEdits": {
                "env": [f"CHAOS_NIC_{number}=yes"],
                "deviceNodes": [{"path": f"/dev/chaos/nic_{number}", "permissions": "rw"}],
                "mounts": [
                    {
                        "hostPath": f"{RICH_DIRECTORY}/nic_{number}.conf",
                        "containerPath": f"{RICH_DIRECTORY}/nic_{number}.conf",
                        "options": ["ro", "bind"],
                    }
                ],
            },
        }
        for number in range(NICS)
    ]
    return json.dumps({"cdiVersion": "0.6.0", "kind": NIC, "devices": devices}, indent=1)


def nic_file(number: int) -> str:
    """The content of a nic's file."""
    return f"settings of nic {number}\n"


def make_nic_node(root: Path, number: int) -> None:
    """Make the host's device node of a nic, as one step."""
    path, draft = root / f"dev/chaos/nic_{number}", root / f"dev/chaos/.nic_{number}"
    draft.unlink(missing_ok=True)
    os.mknod(draft, stat.S_IFCHR | 0o666, os.makedev(mock.MAJOR, NIC_MINOR + number))
    draft.chmod(0o666)
    draft.replace(path)


def replace_file(path: Path, content: str) -> None:
    """Write a file as one step (a rename)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(content)
    draft.replace(path)


def create(root: Path) -> None:
    """Make all nodes, files and specs below `root`."""
    mock.create(root)
    for directory in ("dev/chaos", RICH_DIRECTORY[1:], "run/cdi"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    for number in range(NICS):
        make_nic_node(root, number)
        replace_file(root / RICH_DIRECTORY[1:] / f"nic_{number}.conf", nic_file(number))
    replace_file(root / NIC_SPEC[1:], nic_spec())


def wanted(gpus: list[int], nics: list[int], allocations: int) -> Wanted:
    """What these devices bring."""
    return Wanted(
        nodes={f"/dev/mock/device_{n}": (mock.MAJOR, n) for n in gpus}
        | {f"/dev/chaos/nic_{n}": (mock.MAJOR, NIC_MINOR + n) for n in nics},
        files={f"/mock/lib/device_{n}.so": mock.library(n) for n in gpus}
        | {f"{RICH_DIRECTORY}/nic_{n}.conf": nic_file(n) for n in nics},
        env=frozenset(
            [*(f"MOCK_DEVICE_{n}=/dev/mock/device_{n}" for n in gpus), *(f"CHAOS_NIC_{n}=yes" for n in nics)]
            + (["MOCK_DRIVER=1"] if gpus else [])
        ),
        allocations=allocations,
    )


def plain() -> Order:
    """A container without any CDI key, and nothing else of interest."""
    return Order("plain", api.ContainerConfig(), None, may_lack=False)


def rich() -> Order:
    """A container without a CDI key that has a mount, a variable and annotations of its own."""
    config = api.ContainerConfig(
        envs=[api.KeyValue(key="RICH", value="1")],
        mounts=[api.Mount(container_path="/rich", host_path="/usr/share", readonly=True)],
        annotations={"example.com/cdi": "looks like cdi.k8s.example but is not"},
    )
    return Order("rich", config, None, may_lack=False)


def one(prefix: str, gpus: list[int], *, guard: bool) -> Order:
    """A container with one allocation."""
    return Order(
        "one", allocated(prefix, [mock.name(n) for n in gpus], guard=guard), wanted(gpus, [], 1), may_lack=False
    )


def several(prefix: str, gpus: list[int], nics: list[int], *, guard: bool) -> Order:
    """A container with an allocation for each device."""
    groups = [*([mock.name(n)] for n in gpus), *([nic(n)] for n in nics)]
    return Order("several", allocated(prefix, *groups, guard=guard), wanted(gpus, nics, len(groups)), may_lack=False)


def foreign(prefix: str, gpus: list[int]) -> Order:
    """A container whose key is another device plugin's: injected, never guarded or gated."""
    config = api.ContainerConfig(annotations={prefix + FOREIGN_KEY: ",".join(map(mock.name, gpus))})
    return Order("foreign", config, wanted(gpus, [], 0), may_lack=True)


def mixed(prefix: str, gpus: list[int], nics: list[int], *, guard: bool) -> Order:
    """A container with an allocation of ours and a foreign key beside it."""
    config = allocated(prefix, [mock.name(n) for n in gpus], guard=guard)
    config.annotations[prefix + FOREIGN_KEY] = ",".join(map(nic, nics))
    return Order("mixed", config, wanted(gpus, nics, 1), may_lack=False)


def draw(rng: random.Random, prefix: str, *, guard: bool) -> Order:
    """The next container of a thread: a third are keyless."""
    kind = rng.choice(("plain", "rich", "one", "one", "several", "several", "foreign", "mixed", "plain"))
    gpus = sorted(rng.sample(range(mock.COUNT), rng.randint(1, 3)))
    nics = sorted(rng.sample(range(NICS), rng.randint(1, 2)))
    if kind == "plain":
        return plain()
    if kind == "rich":
        return rich()
    if kind == "one":
        return one(prefix, gpus, guard=guard)
    if kind == "several":
        return several(prefix, gpus, nics, guard=guard)
    if kind == "foreign":
        return foreign(prefix, gpus)
    return mixed(prefix, gpus, nics, guard=guard)
