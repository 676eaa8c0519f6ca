"""A node with mock devices and an agent that injects them: what the tests of the main path share.

Where the runtime's own CDI cannot be off, the agent serves another annotation prefix, which the runtime leaves alone.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from lab import cri_api as api
from lab import mock
from lab.agent import READY, Agent
from lab.config import NRI_SOCKET, native_cdi_always
from lab.cri import CriError
from lab.standin import container_config
from lab.trouble import LabError, wait_until
from nri_cdi.allocation import DEFAULT_PREFIX
from nri_cdi.kubelet.allocate import allocate_names, to_response
from nri_cdi.readiness import Slots, ask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.node import Node
    from lab.pods import Container, Pod

OTHER_PREFIX: Final = "lab.example/"
"""An annotation prefix that no runtime reads."""

UNSETTLED: Final = "specs-unsettled"
"""The reason of a refusal that has nothing against the container: it came too soon."""

_TRIES: Final = 20
_REFUSED = re.compile(r"WARNING inject: (?P<text>.*) \((?P<reason>[a-z-]+)\)$", re.MULTILINE)


class Refusal(NamedTuple):
    """What the agent said when it refused a container: its reason, and the text word by word."""

    reason: str
    text: str


def allocated(prefix: str, *containers: Sequence[str], guard: bool = True) -> api.ContainerConfig:
    """What the kubelet puts into a CRI container that was allocated devices, a group of qualified names for each allocation.

    The answers are merged as there (devicemanager, deviceRunContainerOptions): of two mounts at one place the first stays.
    """
    config = api.ContainerConfig()
    for names in containers:
        for allocation in allocate_names(names, prefix=prefix, random_id=lambda: os.urandom(16), guard=guard).values():
            part = container_config(to_response(allocation))
            there = {mount.container_path for mount in config.mounts}
            mounts = [mount for mount in part.mounts if mount.container_path not in there]
            del part.mounts[:]
            config.MergeFrom(part)
            config.mounts.extend(mounts)
    return config


class Served:
    """The mock devices on `node`, and at most one agent (`nri`) that every test may use, stop or kill."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.prefix = OTHER_PREFIX if native_cdi_always(node.series) else DEFAULT_PREFIX
        self.flags = ("--annotation-prefix", self.prefix)
        self._agent: Agent | None = None
        self._specs: list[str] = []
        mock.create(node.path("/"))

    def __repr__(self) -> str:
        return f"<Served {self.node.series}, {self._agent or 'no agent'}>"

    @property
    def agent(self) -> Agent:
        """The agent, synchronised; a new one if the last one has ended."""
        if self._agent is None or self._agent.program.poll() is not None:
            self._agent = Agent(self.node.sandbox, "nri", *self.flags).wait_ready()
        return self._agent

    def without_agent(self) -> None:
        """Kill the agent, if there is one, and wait until the runtime has noticed: its next request asks nobody."""
        if self._agent is not None:
            self._agent.kill()
            self._agent = None

    def tidy(self) -> None:
        """Remove the spec files that tests have written, and all pods; what the agent knows is then what is there again."""
        if self.node.daemon is None:
            self.node.start_daemon()
        self.node.remove_pods()
        for path in self._specs:
            self.node.path(path).unlink(missing_ok=True)
        if self._specs and self._agent is not None and self._agent.program.poll() is None:
            wait_until(lambda: self.unready() is None, 20, f"the readiness of {self._agent!r}")
        self._specs.clear()

    def unready(self) -> str | None:
        """Why PreStartContainer would refuse mock devices now, asked as the kubelet half asks; None if it would not."""
        return ask(Slots(str(self.node.path("/run/nri-cdi")), NRI_SOCKET), [mock.name(0)])

    def write_spec(self, name: str, content: dict[str, Any] | str, directory: str = "/etc/cdi") -> str:
        """Write the CDI spec file `name` as one step (a rename) until `tidy`; a dict is written as JSON. Returns its path inside."""
        path = f"{directory}/{name}"
        self._specs.append(path)
        target = self.node.path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{name}.draft")
        draft.write_text(content if isinstance(content, str) else json.dumps(content))
        draft.replace(target)
        return path

    def allocation(self, *names: str, guard: bool = True) -> api.ContainerConfig:
        """The container of a pod that was allocated these devices, all by one allocation for each resource."""
        return allocated(self.prefix, names, guard=guard)

    def devices(self, *numbers: int, guard: bool = True) -> api.ContainerConfig:
        """The same for mock devices."""
        return self.allocation(*map(mock.name, numbers), guard=guard)

    def container(self, config: api.ContainerConfig, pod: Pod | None = None, name: str = "c") -> Container:
        """Create a container as the kubelet does: again as long as the agent says that spec files have not been read yet.

        Raises CriError for any other refusal.
        """
        pod = pod or self.node.pod()
        for _ in range(_TRIES):
            try:
                return pod.container(name, extra=config)
            except CriError as error:
                refusal = self._passed_on(error)
                if refusal is None or refusal.reason != UNSETTLED:
                    raise
        raise LabError(f"the specs of {self!r} do not settle")

    def refused_as(self, error: CriError) -> Refusal:
        """The refusal that `error` passes on. Raises LabError unless the runtime's text ends with the agent's own, word by word."""
        refusal = self._passed_on(error)
        if refusal is None:
            raise LabError(f"the runtime said {error.details!r}, which the agent did not say")
        return refusal

    def _passed_on(self, error: CriError) -> Refusal | None:
        """The agent's latest refusal, if that is what `error` says."""
        said = _REFUSED.findall(self._agent.log()) if self._agent is not None else []
        return Refusal(said[-1][1], said[-1][0]) if said and error.details.endswith(f"desc = {said[-1][0]}") else None

    def wait_synchronized_again(self, before: int, timeout: float = 10) -> None:
        """Wait until the running agent has been synchronised more often than `before` times (see `synchronizations`)."""
        wait_until(lambda: self.synchronizations() > before, timeout, "the agent's next synchronisation")

    def synchronizations(self) -> int:
        """How often the running agent has been synchronised."""
        return self.agent.log().count(READY)


def node_spec(kind: str, *devices: str, edits: dict[str, Any] | None = None, **device_edits: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """A CDI spec of `kind` whose devices all have the edits `device_edits`; `edits` are those of the whole spec."""
    spec: dict[str, Any] = {
        "cdiVersion": "0.6.0",
        "kind": kind,
        "devices": [{"name": name, "containerEdits": dict(device_edits)} for name in devices],
    }
    if edits is not None:
        spec["containerEdits"] = edits
    return spec
