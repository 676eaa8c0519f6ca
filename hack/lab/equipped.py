"""A cluster with mock devices on which nri-cdi runs: what the cluster tests, the demo and the record of refusals share.

Where the runtime's own CDI cannot be off, nri-cdi serves another annotation prefix, which the runtime leaves alone.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lab import mock
from lab.agent import Agent
from lab.config import native_cdi_always
from lab.served import OTHER_PREFIX
from lab.service import Notifications
from lab.trouble import LabError
from nri_cdi.allocation import DEFAULT_PREFIX

if TYPE_CHECKING:
    from lab.cluster import Cluster

SPEC: Final = "/etc/cdi/device.example.com-gpu.yaml"
"""Where `mock.create` writes the CDI spec."""

HALVES: Final = ("nri", "device-plugin")
"""The two commands that together are what `run` is."""

REGISTERED: Final = ": registered with the kubelet"
"""What the log of nri-cdi says when the kubelet knows it."""

_LOOK: Final = """
cd /dev/mock 2>/dev/null && for f in *; do echo "node $f $(cat $f 2>&1 | sed 's/.*: //')"; done
cd /mock/lib 2>/dev/null && for f in *; do echo "library $f $(cat $f)"; done
env | sed -n 's/^MOCK_DEVICE_/variable /p'
"""
_ALLOWED: Final = "No such device or address"
"""What opening a node answers where the device cgroup lets it through to the driver, which is not there."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a container has, seen from inside: nodes with what opening them answers, libraries with their content, variables; and what
    the kubelet's pod resources API says that it has been allocated.
    """

    allocated: list[str]
    nodes: dict[str, str]
    libraries: dict[str, str]
    variables: dict[str, str]

    @property
    def problems(self) -> list[str]:
        """Where what is inside is not exactly what is allocated; empty when all is as promised."""
        numbers = [one.removeprefix("device_") for one in self.allocated]
        wanted = Seen(
            self.allocated,
            {f"device_{n}": _ALLOWED for n in numbers},
            {f"device_{n}.so": mock.library(int(n)).strip() for n in numbers},
            {n: f"/dev/mock/device_{n}" for n in numbers},
        )
        pairs = (
            ("nodes", wanted.nodes, self.nodes),
            ("libraries", wanted.libraries, self.libraries),
            ("variables", wanted.variables, self.variables),
        )
        return [f"{what}: {seen} instead of {want}" for what, want, seen in pairs if want != seen]


class Equipped:
    """`cluster` with `count` mock devices; nri-cdi runs there when `start` has been called, each half at most once."""

    def __init__(self, cluster: Cluster, count: int = mock.COUNT) -> None:
        self.cluster = cluster
        self.count = count
        self.prefix = OTHER_PREFIX if native_cdi_always(cluster.series) else DEFAULT_PREFIX
        self.agents: dict[str, Agent] = {}
        self._launched: list[Agent] = []
        self.furnish()

    def __repr__(self) -> str:
        return f"<Equipped {self.cluster.series}, {', '.join(self.agents) or 'no agent'}>"

    def furnish(self) -> None:
        """Make the mock devices and their spec, or mend them."""
        mock.create(self.cluster.path("/"), self.count)

    def launch(self, command: str, *flags: str, env: dict[str, str] | None = None) -> Agent:
        """A further process of nri-cdi. What is not in `agents` ends with `tidy`."""
        resource = () if command == "nri" else ("--resource", mock.KIND)
        agent = Agent(self.cluster.sandbox, command, "--annotation-prefix", self.prefix, *resource, *flags, env=env)
        self._launched.append(agent)
        return agent

    def boot(self, *flags: str) -> None:
        """Start both halves as a boot does, as services of the node; returns as soon as the kubelet, which is ordered behind them, would be started.

        `flags` are for the kubelet half.
        """
        with contextlib.ExitStack() as stack:
            told = {half: stack.enter_context(Notifications(self.cluster.sandbox)) for half in HALVES}
            for half, notifications in told.items():
                more = flags if half == "device-plugin" else ()
                self.agents[half] = self.launch(half, *more, env={"NOTIFY_SOCKET": notifications.address})
            for half, notifications in told.items():
                notifications.wait_ready(self.agents[half])

    def start(self, *commands: str) -> None:
        """Start these commands (`run`, or `HALVES`) where they do not run yet; returns when pods with devices can come."""
        self.begin(*commands)
        if any(command != "nri" for command in commands):
            self.cluster.wait_allocatable(mock.KIND, self.count)

    def begin(self, *commands: str) -> None:
        """The same, but returns when they say that they work; the scheduler hears of it later."""
        for command in commands:
            agent = self.agents.get(command)
            if agent is None or agent.program.poll() is not None:
                self.agents[command] = self.launch(command)
        for command in commands:
            if command != "device-plugin":
                self.agents[command].wait_ready()
            if command != "nri":
                self.agents[command].wait_log(REGISTERED)

    def stop(self, *commands: str) -> None:
        """Stop these commands, or all, as the end of their pod would."""
        for command in commands or tuple(self.agents):
            if command in self.agents:
                self.agents.pop(command).stop()

    def kill(self, *commands: str) -> None:
        """Kill these commands, or all, with SIGKILL."""
        for command in commands or tuple(self.agents):
            if command in self.agents:
                self.agents.pop(command).kill()

    def tidy(self) -> None:
        """All parts of the node run, no pod is left, the devices are whole, and both halves of nri-cdi run as two processes."""
        if self.cluster.node.daemon is None:
            self.cluster.node.start_daemon()
        self.cluster.kubelet.ensure()
        self.cluster.delete_all()
        self.furnish()
        self.stop("run")
        for agent in self._launched:
            if agent not in self.agents.values():
                agent.kill()
        self._launched = list(self.agents.values())
        self.start(*HALVES)

    def look(self, pod: str, container: str = "c") -> Seen:
        """What a running container has."""
        cluster = self.cluster
        found = cluster.status(pod).containers[container]
        answer = cluster.node.cri.exec_sync(found.id, ["sh", "-c", _LOOK])
        if answer.exit_code != 0:
            raise LabError(f"cannot look into {container} of pod {pod}: {answer.stderr.decode(errors='replace')}")
        things: dict[str, dict[str, str]] = {"node": {}, "library": {}, "variable": {}}
        for line in answer.stdout.decode().splitlines():
            kind, _, rest = line.partition(" ")
            name, _, value = rest.partition("=" if kind == "variable" else " ")
            things[kind][name] = value
        return Seen(cluster.devices(pod, container), things["node"], things["library"], things["variable"])
