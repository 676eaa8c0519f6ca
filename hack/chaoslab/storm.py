"""One seeded run on one runtime: load, faults, observers; then what they found, as plain data."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab import installation
from lab.config import native_cdi_always
from lab.node import Node
from lab.served import OTHER_PREFIX
from lab.trouble import LabError, wait_until

from chaoslab import delays, load, world
from chaoslab.faults_agent import AgentFaults
from chaoslab.faults_node import DeviceFaults, RuntimeFaults, SpecFaults
from chaoslab.ledger import KEYLESS_DELAYED, RULES, Finding, Ledger, hits
from chaoslab.slots import Slot, environment
from nri_cdi.allocation import DEFAULT_PREFIX

LOADS: Final = 4
"""Threads that make containers: enough that a fault mostly finds a request under way, and few enough for two processors."""

HITS: Final = 100
"""A run with fewer faults between a request and its answer has not tried enough to say anything."""

_OBSERVER: Final = Path(__file__).with_name("observer.py")
_METRONOME: Final = Path(__file__).with_name("beat.py")
_BEAT: Final = "beat"
_LOOK: Final = 1.0  # seconds between two looks whether a run that has not enough hits has them now
_EXACT: Final = "with a key: ran with exactly its devices"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run, for at least `seconds`. `slots` is 1 (one agent) or 2 (a hot standby); `layers` off is the proof that the harness sees what it looks for.

    `old` is a checkout of another version for the upgrades to alternate with; None: a copy of this one that says to be another.
    """

    series: str
    seed: int
    seconds: float
    slots: int
    layers: bool = True
    old: Path | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What a run found. `invalid` is the reason why it says nothing, or empty."""

    plan: Plan
    violations: dict[str, int]
    outcomes: dict[str, int]
    faults: dict[str, int]
    calls: int
    hits: dict[str, int]
    """The faults between a request and its answer, by kind."""
    struck: int
    """Those of them that came while the request was with an agent."""
    delays: delays.Delays
    findings: tuple[Finding, ...]
    invalid: str

    @property
    def ok(self) -> bool:
        """Whether the run is valid and nothing was violated."""
        return not self.invalid and not any(self.violations.values())


def run(plan: Plan, logs: Path, wanted_hits: int = HITS) -> Report:
    """One run on a node of its own, up to twice as long as planned while it has not its `wanted_hits`.

    The logs are kept in `logs` unless all is well. Raises LabError when the node does not come up.
    """
    with Node(plan.series) as node:
        world.create(node.path("/"))
        ledger = Ledger()
        prefix = OTHER_PREFIX if native_cdi_always(plan.series) else DEFAULT_PREFIX
        scene = load.Scene(node, ledger, load.baselines(node), prefix, guard=plan.layers)
        notes = _observe(node)
        variant = "" if plan.layers else "careless"
        other = installation.another(node.sandbox, plan.old)
        slots = [Slot(node, index, prefix, other, variant) for index in ("10", "11")[: plan.slots]]
        for slot in slots:
            slot.wait_ready()
        errors = _storm(plan, scene, slots, notes[delays.BEFORE], wanted_hits)
        written = {name: path.read_text().splitlines(keepends=True) for name, path in notes.items()}
        still = delays.spans(written.pop(_BEAT))
        passages = delays.read(written)
        measured = delays.measure(passages, ledger.calls, ledger.frozen, still)
        for (method, pod, container), seconds in measured.late:
            ledger.finding(KEYLESS_DELAYED, f"{method} of {pod}/{container}", f"{seconds:.3f} s")
        struck = delays.struck(hits(ledger.faults, ledger.calls), passages.values())
        report = _report(plan, ledger, measured, struck, errors, wanted_hits)
        if not report.ok:
            _keep(node, logs)
        return report


def _observe(node: Node) -> dict[str, Path]:
    """Start the observers and the metronome; where each of them writes, by its index or `_BEAT`."""
    notes = {}
    for name in (*delays.INDEXES, _BEAT):
        path = f"/var/log/observer-{name}"
        node.path(path).touch()
        argv = [_METRONOME, path] if name == _BEAT else [_OBSERVER, name, path]
        node.sandbox.popen([sys.executable, *map(str, argv)], f"{path}.log", environment())
        notes[name] = node.path(path)
    node.wait_plugins(*(f"{index}-observer" for index in delays.INDEXES), timeout=20)
    return notes


def _storm(plan: Plan, scene: load.Scene, slots: list[Slot], requests: Path, wanted_hits: int) -> list[str]:
    """Load and faults, then calm. Returns the errors of the harness itself."""
    node, ledger, seed = scene.node, scene.ledger, plan.seed
    calm, home = threading.Event(), threading.Event()
    agents = [AgentFaults(slot, ledger, seed, calm, requests) for slot in slots]
    runtime = RuntimeFaults(node, ledger, seed, calm)
    others = [SpecFaults(node, ledger, seed, calm), DeviceFaults(node, ledger, seed, calm)]
    loads = [load.Load(scene, seed, number, home) for number in range(LOADS)]
    for thread in (*loads, *agents, runtime, *others):
        thread.start()
    home.wait(plan.seconds)
    end = time.monotonic() + plan.seconds
    while len(hits(ledger.faults, ledger.calls)) < wanted_hits and time.monotonic() < end:
        home.wait(_LOOK)
    calm.set()
    for thread in (*agents, runtime, *others):
        thread.join()
    home.set()
    for one in loads:
        one.join()
    failed = [
        *((one.name, one.error) for one in loads),
        *((one.name, one.error) for one in agents),
        (runtime.name, runtime.error),
    ]
    errors = [f"{name}: {error}" for name, error in failed if error is not None]
    if not errors and plan.layers:
        try:
            for slot in slots:
                wait_until(lambda: "synchronized with" in slot.agent.log(), 10, f"the agent of slot {slot.index}")  # noqa: B023 - used at once
        except LabError as error:
            errors.append(str(error))
        load.recovers(scene, _all_kinds(scene))
    return errors


def _all_kinds(scene: load.Scene) -> list[world.Order]:
    return [
        world.plain(),
        world.rich(),
        world.one(scene.prefix, [0, 5], guard=scene.guard),
        world.several(scene.prefix, [1, 2], [3], guard=scene.guard),
        world.foreign(scene.prefix, [4]),
        world.mixed(scene.prefix, [6], [0], guard=scene.guard),
    ]


def _report(
    plan: Plan, ledger: Ledger, measured: delays.Delays, struck: int, errors: list[str], wanted_hits: int
) -> Report:
    kinds = Counter(fault.kind for fault in hits(ledger.faults, ledger.calls))
    found = kinds.total()
    invalid = "; ".join(errors)
    if not invalid and found < wanted_hits:
        invalid = f"only {found} faults fell between a request and its answer, {wanted_hits} are needed: is the machine so slow?"
    if not invalid and not ledger.outcomes[_EXACT] and plan.layers:
        invalid = "no container with a key ran at all"
    return Report(
        plan=plan,
        violations={rule: ledger.count(rule) for rule in RULES},
        outcomes=dict(sorted(ledger.outcomes.items())),
        faults=dict(sorted(Counter(fault.kind for fault in ledger.faults).items())),
        calls=len(ledger.calls),
        hits=dict(sorted(kinds.items())),
        struck=struck,
        delays=measured,
        findings=tuple(ledger.findings),
        invalid=invalid,
    )


def _keep(node: Node, target: Path) -> None:
    """Save the logs of a node."""
    target.mkdir(parents=True, exist_ok=True)
    for path in node.path("/var/log").glob("*"):
        if path.name.startswith(("nri-cdi", "containerd", "observer")):
            shutil.copy(path, target)
