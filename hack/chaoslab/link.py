"""The endurance of the connection: the runtime is restarted and killed again and again, and each time its very first container with a key must be injected.

The container is asked for in a pod that lives through it all, in the moment in which the runtime says that it is ready: no kubelet asks sooner.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lab.agent import Agent
from lab.config import native_cdi_always
from lab.cri import CriError
from lab.node import Node
from lab.oci import comparable
from lab.served import OTHER_PREFIX
from lab.trouble import LabError

from chaoslab import judge, load, world
from chaoslab.ledger import Ledger
from nri_cdi.allocation import DEFAULT_PREFIX

if TYPE_CHECKING:
    from lab.pods import Container, Pod

_AWAY: Final = 30.0  # seconds that the runtime may take to come back
_POLL: Final = 0.002  # seconds between two questions whether it is ready
_LOG: Final = 2000
_STARTED: Final = 10
"""One container in so many is started and looked at from all sides; the others are read from their OCI spec."""


@dataclass(frozen=True, slots=True)
class Result:
    """How many of `restarts` were followed by an injected container at once; `failed` says what was seen instead."""

    restarts: int
    injected: int
    failed: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.injected} of {self.restarts}"


def run(series: str, restarts: int) -> Result:
    """Restart (odd) and kill (even) the runtime `restarts` times. Raises LabError when it does not come back."""
    with Node(series) as node:
        world.create(node.path("/"))
        prefix = OTHER_PREFIX if native_cdi_always(series) else DEFAULT_PREFIX
        scene = load.Scene(node, Ledger(), load.baselines(node), prefix, guard=True)
        failed = []
        with Agent(node.sandbox, "nri", "--annotation-prefix", prefix) as agent:
            agent.wait_ready(20)
            pod = node.pod("link")
            for number in range(1, restarts + 1):
                (node.stop_daemon if number % 2 else node.kill_daemon)()
                order = world.several(prefix, [number % 8], [number % 4], guard=True)
                if problem := _first(scene, pod, order, number):
                    failed.append(f"restart {number}: {problem}")
        return Result(restarts, restarts - len(failed), tuple(failed))


def _first(scene: load.Scene, pod: Pod, order: world.Order, number: int) -> str:
    """Start the runtime and create its first container. Returns what is wrong with it, or nothing."""
    node = scene.node
    daemon = node.spawn_daemon()
    end = time.monotonic() + _AWAY
    while not node.ready():
        if daemon.poll() is not None or time.monotonic() > end:
            raise LabError(f"containerd {node.series} did not come back: {daemon}, log: {node.log()[-_LOG:]}")
        time.sleep(_POLL)
    try:
        container = pod.container(f"first-{number}", extra=order.config)
    except CriError as error:
        return str(error)
    problems = judge.wrong_spec(comparable(container), scene.baselines["plain"], order.wanted)
    if not problems and number % _STARTED == 0:
        problems = _looked_at(scene, container, order)
    load.patiently(container.remove, 5)
    return "; ".join(problems)


def _looked_at(scene: load.Scene, container: Container, order: world.Order) -> list[str]:
    try:
        load.look(scene, container.start(), order)
    except CriError as error:
        return [str(error)]
    found = [finding.seen for finding in scene.ledger.findings]
    scene.ledger.findings.clear()
    return found
