"""The connection cut at every step of the protocol, one after the other: each time containers with and without a CDI key are made.

A container with a key must then not run, or run with exactly its devices; one without must run unchanged; and afterwards everything must be in order.
"""

from __future__ import annotations

import itertools
import signal
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lab.agent import Agent
from lab.config import NRI_SOCKET, native_cdi_always
from lab.node import Node
from lab.served import OTHER_PREFIX

from chaoslab import load, world
from chaoslab.faults_agent import note_end
from chaoslab.ledger import NOT_RECOVERED, RULES, Finding, Ledger
from chaoslab.proxy import CONNECT, Cut, Proxy
from nri_cdi.allocation import DEFAULT_PREFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.pods import Pod

_SOCKET: Final = "/run/nri-proxy/nri.sock"
_HANDSHAKE: Final = ("RegisterPlugin", "Configure", "Synchronize")
_SERVING: Final = ("CreateContainer", "StartContainer")
_CUTS: Final = ("cut 0", "cut 50", "cut 100", "hold", "garble 0")
_FREEZE: Final = 1.3
"""Seconds for which the agent is frozen: longer than the runtime waits for a registration or an answer."""

_BODY: Final = ("cut 10", "cut 90", *(f"garble {percent}" for percent in (15, 30, 45, 60, 75, 90, 99)))
_SILENT: Final = tuple(Cut("Synchronize", answer=True, how=how) for how in ("hold", "garble 0"))

_FIRED: Final = 8.0  # seconds in which the step must come; also those in which the agent must be back


@dataclass(frozen=True, slots=True)
class Result:
    """What the cuts showed, each with how its container with a key ended."""

    ended: dict[str, int]
    violations: dict[str, int]
    findings: tuple[Finding, ...]


def table() -> list[Cut]:
    """All cuts, in the order of the protocol."""
    cuts = [Cut(CONNECT, answer=False, how=how) for how in ("cut 0", "hold")]
    for step in (*_HANDSHAKE, *_SERVING):
        for answer in (False, True):
            cuts += [Cut(step, answer, how) for how in _CUTS]
        cuts.append(Cut(step, answer=step == "RegisterPlugin", how="freeze"))  # what comes to the agent
    # what the answer says is what the container gets
    cuts += [Cut("CreateContainer", answer=True, how=how) for how in _BODY]
    return cuts


def run(series: str, cuts: Sequence[Cut]) -> Result:
    """Make all `cuts` on a node of its own, with short timeouts of the runtime so that holding does not take long."""
    with Node(series, plugin_request_timeout="500ms", plugin_registration_timeout="1s") as node:
        world.create(node.path("/"))
        ledger = Ledger()
        prefix = OTHER_PREFIX if native_cdi_always(series) else DEFAULT_PREFIX
        scene = load.Scene(node, ledger, load.baselines(node), prefix, guard=True)
        agent = _Agent(scene)
        proxy = Proxy(node.path(_SOCKET), node.path(NRI_SOCKET), agent.freeze)
        try:
            agent.start().wait_ready(20)
            pod = node.pod("steps")
            for number, cut in enumerate(cuts):
                before = len(ledger.findings)
                _one(scene, proxy, agent, pod, cut, number)
                for at in range(before, len(ledger.findings)):
                    found = ledger.findings[at]
                    ledger.findings[at] = Finding(found.rule, f"{found.subject} after {cut}", found.seen)
            agent.process.stop()
        finally:
            proxy.close()
        return Result(
            ended=dict(sorted(ledger.outcomes.items())),
            violations={rule: ledger.count(rule) for rule in RULES},
            findings=tuple(ledger.findings),
        )


class _Agent:
    """The agent behind the proxy; one that has ended by itself is started anew, as the kubelet would."""

    def __init__(self, scene: load.Scene) -> None:
        self._scene = scene
        self.process: Agent

    def start(self) -> Agent:
        """Start it."""
        flags = ("--nri-socket", _SOCKET, "--annotation-prefix", self._scene.prefix)
        self.process = Agent(self._scene.node.sandbox, "nri", *flags)
        return self.process

    def freeze(self) -> None:
        """Stop it, and have it go on after `_FREEZE`."""
        self.process.signal(signal.SIGSTOP)
        threading.Timer(_FREEZE, self.process.signal, (signal.SIGCONT,)).start()

    def revive(self) -> None:
        """Start it anew if it has ended, and note why."""
        status = self.process.program.poll()
        if status is not None:
            note_end(self._scene.ledger, "the agent", status, self.process.log())
            self.start()


def _one(scene: load.Scene, proxy: Proxy, agent: _Agent, pod: Pod, cut: Cut, number: int) -> None:
    """One cut, and containers during and after it."""
    keyed = world.several(scene.prefix, [0, 1], [2], guard=scene.guard)
    if cut.step in _SERVING:
        proxy.arm(cut)
        load.attempt(scene, pod, keyed, f"keyed-{number}")
        _fired(scene, proxy, cut)
        _back(scene, proxy, agent, cut)
        proxy.arm(cut)
        load.attempt(scene, pod, world.plain(), f"keyless-hit-{number}")
        proxy.disarm()
    else:
        proxy.arm(cut)
        proxy.drop()
        _fired(scene, proxy, cut)
        load.attempt(scene, pod, keyed, f"keyed-{number}")
    load.attempt(scene, pod, world.rich(), f"keyless-{number}")
    if cut in _SILENT:
        # the runtime waits for an answer that the agent has sent: only a new connection can end that
        proxy.drop()
    _back(scene, proxy, agent, cut)
    end = time.monotonic() + _FIRED
    tries = itertools.count()
    while not load.attempt(scene, pod, keyed, f"after-{number}-{next(tries)}"):
        agent.revive()
        if time.monotonic() > end:
            scene.ledger.finding(NOT_RECOVERED, str(cut), f"no container with a key ran within {_FIRED:g} s")
            proxy.drop()  # the next cut is to find a sound connection
            _back(scene, proxy, agent, cut)
            return


def _fired(scene: load.Scene, proxy: Proxy, cut: Cut) -> None:
    if not proxy.fired.wait(_FIRED):
        scene.ledger.finding(NOT_RECOVERED, str(cut), f"the step did not come within {_FIRED:g} s")
        proxy.disarm()


def _back(scene: load.Scene, proxy: Proxy, agent: _Agent, cut: Cut) -> None:
    """Wait until the agent is connected and synchronised."""
    end = time.monotonic() + _FIRED
    while not proxy.synchronized.wait(0.1):
        agent.revive()
        if time.monotonic() > end:
            scene.ledger.finding(NOT_RECOVERED, str(cut), f"the agent was not synchronised again within {_FIRED:g} s")
            return
