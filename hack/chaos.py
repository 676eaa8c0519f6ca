"""Chaos on real containerd: does the promise hold while everything that can break breaks? `make chaos`, or `python hack/chaos.py`.

For each runtime (1.7, 2.1, 2.4):

    storm 1      containers come and go at several threads while the agent is killed, frozen, throttled, slowed, restarted, upgraded and downgraded, its
                 spec files are broken, torn and removed, device nodes and files vanish, and containerd is killed and restarted
    storm 2      the same with two agents, in the slots 10 and 11
    steps        the NRI connection cut, held, garbled and the agent frozen at every step of the protocol, one after the other
    link         containerd restarted and killed; the first container that it accepts must be injected each time
    layers off   a storm in which refusing, the guard and "ours or not" are off: the harness must see containers without their devices and harmed
                 containers without a key, or it could not see them in the others either

Upgrades and downgrades alternate between this checkout and a copy of it that is installed elsewhere and says to be another version: each meets the files,
sockets, lock and marks of the other. Only with `--old CHECKOUT` (`OLD=` of make), a real older one, are older formats met as well.

Every container that runs is looked at: from its OCI spec, from inside, from outside. Three observers (NRI plugins of the harness) around the agents say
whose time a container without a CDI key has waited, a metronome on each processor when it was nobody's (chaoslab/delays.py).

Exit status: 0 nothing is violated, 1 something is, or a storm had too few hits to say anything, 3 a part is missing.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import secrets
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

CHECKOUT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))  # it runs from a checkout that nobody has installed

# below the line that makes them importable
from chaoslab import link, steps, storm  # noqa: E402
from chaoslab.ledger import KEYLESS_CHANGED, KEYLESS_DELAYED, WITHOUT_DEVICES  # noqa: E402
from lab.trouble import LabError  # noqa: E402

RUNTIMES: Final = ("1.7", "2.1", "2.4")
LAYERS_OFF: Final = "layers off"
PARTS: Final = ("storm 1", "storm 2", "steps", "link", LAYERS_OFF)
LAYERS_OFF_SECONDS: Final = 8.0
"""Both kinds of harm come many times in so long."""

SHOWN: Final = 5
WIDTH: Final = 600


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Chaos on real containerd.", epilog="See the head of this file.")
    parser.add_argument(
        "--seed", type=int, default=secrets.randbelow(1 << 31), help="of all random decisions (default: a new one)"
    )
    parser.add_argument("--seconds", type=float, default=60, help="of each storm with its layers (default: 60)")
    parser.add_argument("--restarts", type=int, default=200, help="of containerd in the part link (default: 200)")
    parser.add_argument(
        "--old",
        type=Path,
        metavar="CHECKOUT",
        help="of another version, which upgrades alternate with (default: a copy of this one that says to be another)",
    )
    parser.add_argument(
        "--runtime", action="append", choices=RUNTIMES, help="a series of containerd; may be repeated (default: all)"
    )
    parser.add_argument("--only", action="append", choices=PARTS, help="a part; may be repeated (default: all)")
    parser.add_argument("--json", type=Path, help="a file for the record of the run")
    return parser.parse_args()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a part found: the numbers to print by their names, the record, and whether it is as promised. `logs` is where they are kept, if they are."""

    rows: dict[str, Any]
    record: dict[str, Any]
    ok: bool
    invalid: str = ""
    logs: Path | None = None
    seconds: float = 0.0


def run_part(options: argparse.Namespace, series: str, part: str) -> Outcome:
    """Run one part on one runtime. Raises LabError."""
    begun = time.monotonic()
    if part == "steps":
        outcome = run_steps(series)
    elif part == "link":
        outcome = run_link(series, options.restarts)
    elif part == LAYERS_OFF:
        outcome = run_storm(options, storm.Plan(series, options.seed, LAYERS_OFF_SECONDS, slots=1, layers=False), part)
    else:
        plan = storm.Plan(series, options.seed, options.seconds, int(part[-1]), old=options.old)
        outcome = run_storm(options, plan, part)
    return dataclasses.replace(outcome, seconds=round(time.monotonic() - begun, 1))


def run_steps(series: str) -> Outcome:
    """The part steps."""
    cuts = steps.run(series, steps.table())
    rows = {"cuts": len(steps.table()), **cuts.ended, **_violations(cuts.violations)}
    return Outcome(rows, dataclasses.asdict(cuts), not any(cuts.violations.values()))


def run_link(series: str, restarts: int) -> Outcome:
    """The part link."""
    ends = link.run(series, restarts)
    findings = [{"rule": "injected at once", "subject": "", "seen": text} for text in ends.failed]
    record = dataclasses.asdict(ends) | {"findings": findings}
    return Outcome({"injected right after containerd came back": str(ends)}, record, not findings)


def run_storm(options: argparse.Namespace, plan: storm.Plan, part: str) -> Outcome:
    """A storm, with or without the layers."""
    logs = Path(tempfile.gettempdir()) / f"nri-cdi-chaos-{options.seed}" / f"{plan.series}-{part.replace(' ', '-')}"
    report = storm.run(plan, logs, storm.HITS if plan.layers else 1)
    ok = report.ok if plan.layers else seen_without_layers(report)
    table = storm_table(report) if plan.layers else without_layers_table(report)
    return Outcome(table, dataclasses.asdict(report), ok, report.invalid, logs)


class Run:
    """The parts of one run, printed as they end; what they found, and whether it is all as promised."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self.record: dict[str, Any] = {"seed": options.seed, "seconds": options.seconds, "parts": []}
        self.failed = False

    def add(self, series: str, part: str, outcome: Outcome) -> None:
        """Print and keep what a part found."""
        print(f"\ncontainerd {series}, {part}")
        for name, value in outcome.rows.items():
            print(f"  {name:<62}{value:>10}")
        print(f"  {'seconds':<62}{outcome.seconds:>10}", flush=True)
        kept = {"runtime": series, "part": part, "ok": outcome.ok, "seconds": outcome.seconds, **outcome.record}
        self.record["parts"].append(kept)
        if not outcome.ok:
            self.failed = True
            self._explain(series, part, outcome)

    def _explain(self, series: str, part: str, outcome: Outcome) -> None:
        print(f"  NOT AS PROMISED{': ' if outcome.invalid else ''}{outcome.invalid}")
        for finding in outcome.record["findings"][:SHOWN]:
            print(f"  {finding['rule']}: {finding['subject']}: {finding['seen'][:WIDTH]}")
        options = self._options
        again = (
            f"python hack/chaos.py --seed {options.seed} --seconds {options.seconds:g} --restarts {options.restarts}"
        )
        print(f'  again: {again} --runtime {series} --only "{part}"')
        if outcome.logs is not None:
            print(f"  logs:  {outcome.logs}")


def storm_table(report: storm.Report) -> dict[str, Any]:
    """The numbers of a storm, by their names."""
    times = report.delays
    hit = Counter(report.hits).elements()
    return {
        "requests": report.calls,
        "faults": sum(report.faults.values()),
        "faults between a request and its answer (hits)": sum(report.hits.values()),
        **{f"  {who}": count for who, count in Counter(kind.split()[0] for kind in hit).items()},
        "  while the request was with an agent": report.struck,
        **report.outcomes,
        "without a key: requests measured": times.measured,
        "  longest time that was ours, ms": round(times.longest * 1000),
        "  longest step of the runtime for comparison, ms": round(times.step * 1000),
        "  longest time that a processor stood still, ms": round(times.longest_still * 1000),
        "  held up over 250 ms by a frozen agent": times.frozen,
        "  longest of those, ms": round(times.longest_frozen * 1000),
        "  over 250 ms in the runtime's queue behind one with a key": times.queued,
        "  longest of those, ms ": round(times.longest_queued * 1000),
        **_violations(report.violations),
    }


def without_layers_table(report: storm.Report) -> dict[str, Any]:
    """The numbers that may not be 0 when the layers are off."""
    return {
        "requests": report.calls,
        f"{WITHOUT_DEVICES} (must not be 0)": report.violations[WITHOUT_DEVICES],
        f"{KEYLESS_CHANGED} (or the next one: not 0)": report.violations[KEYLESS_CHANGED],
        KEYLESS_DELAYED: report.violations[KEYLESS_DELAYED],
    }


def _violations(counts: dict[str, int]) -> dict[str, int]:
    return {f"VIOLATIONS {rule}": count for rule, count in counts.items()}


def seen_without_layers(report: storm.Report) -> bool:
    """Whether the harness saw both kinds of harm, without its layers."""
    harmed = report.violations[KEYLESS_CHANGED] + report.violations[KEYLESS_DELAYED]
    return bool(report.violations[WITHOUT_DEVICES] and harmed)


def run_all(options: argparse.Namespace, run: Run) -> None:
    """Run the parts that were asked for on the runtimes that were asked for. Raises LabError.

    The steps wait most of their time and measure none: they are made on all runtimes at once.
    """
    every, parts = options.runtime or RUNTIMES, options.only or PARTS
    for series in every:
        for part in parts:
            if part != "steps":
                run.add(series, part, run_part(options, series, part))
    if "steps" in parts:
        with ThreadPoolExecutor(len(every)) as pool:
            begun = [(series, pool.submit(run_part, options, series, "steps")) for series in every]
        for series, future in begun:
            run.add(series, "steps", future.result())


def main() -> int:
    """Run, and say how it was."""
    options = arguments()
    run = Run(options)
    begun = time.monotonic()
    print(f"seed {options.seed}", flush=True)
    status = 0
    try:
        run_all(options, run)
    except LabError as error:
        print(f"chaos: {error}", file=sys.stderr)
        status = 3
    if options.json is not None:
        options.json.write_text(json.dumps(run.record, indent=1, default=str) + "\n")
    verdict = "not as promised: see above" if run.failed else "unfinished" if status else "all as promised"
    print(f"\n{verdict}, in {time.monotonic() - begun:.0f} s")
    return status or int(run.failed)


if __name__ == "__main__":
    sys.exit(main())
