"""Chaos on real containerd: does the promise hold while everything that can break breaks? `make chaos`, or `python hack/chaos.py`.

For each runtime (1.7, 2.1, 2.4):

    storm 1   containers come and go at several threads while the agent is killed, frozen, throttled, slowed, restarted and upgraded, its spec files
              are broken, torn and removed, device nodes and files vanish, and containerd is killed and restarted
    storm 2   the same with two agents, in the slots 10 and 11
    steps     the NRI connection cut, held, garbled and the agent frozen at every step of the protocol, one after the other
    link      containerd restarted and killed; the first container that it accepts must be injected each time

Every container that runs is looked at: from its OCI spec, from inside, from outside. Three observers (NRI plugins of the harness) around the agents say
whose time a container without a CDI key has waited (chaoslab/delays.py).

Exit status: 0 nothing is violated, 1 something is, or a storm had too few hits to say anything, 3 a part is missing. With `--layers off` refusing,
the guard and "ours or not" are off: then 0 says that the harness saw containers without their devices and harmed containers without a key, as it must.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import secrets
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

CHECKOUT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))  # it runs from a checkout that nobody has installed

# below the line that makes them importable
from chaoslab import link, steps, storm  # noqa: E402
from chaoslab.ledger import KEYLESS_CHANGED, KEYLESS_DELAYED, WITHOUT_DEVICES  # noqa: E402
from lab.trouble import LabError  # noqa: E402

RUNTIMES: Final = ("1.7", "2.1", "2.4")
PARTS: Final = ("storm 1", "storm 2", "steps", "link")
SHOWN: Final = 5
WIDTH: Final = 600


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Chaos on real containerd.", epilog="See the head of this file.")
    parser.add_argument(
        "--seed", type=int, default=secrets.randbelow(1 << 31), help="of all random decisions (default: a new one)"
    )
    parser.add_argument("--seconds", type=float, default=60, help="of each storm (default: 60)")
    parser.add_argument("--restarts", type=int, default=200, help="of containerd in the part link (default: 200)")
    parser.add_argument(
        "--runtime", action="append", choices=RUNTIMES, help="a series of containerd; may be repeated (default: all)"
    )
    parser.add_argument("--only", action="append", choices=PARTS, help="a part; may be repeated (default: all)")
    parser.add_argument(
        "--layers", choices=("on", "off"), default="on", help="off: see that the harness sees it (storm 1 only)"
    )
    parser.add_argument("--json", type=Path, help="a file for the record of the run")
    return parser.parse_args()


class Run:
    """The parts of one run, what they found, and whether it is all as promised."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.logs = Path(tempfile.gettempdir()) / f"nri-cdi-chaos-{options.seed}"
        self.record: dict[str, Any] = {"seed": options.seed, "seconds": options.seconds, "parts": []}
        self.failed = False

    def part(self, series: str, part: str) -> None:
        """Run one part on one runtime. Raises LabError."""
        begun = time.monotonic()
        print(f"\ncontainerd {series}, {part}", flush=True)
        if part == "steps":
            cuts = steps.run(series, steps.table())
            found: dict[str, Any] = dataclasses.asdict(cuts)
            ok = not any(cuts.violations.values())
            self._table({"cuts": len(steps.table()), **cuts.ended, **_violations(cuts.violations)})
        elif part == "link":
            ends = link.run(series, self.options.restarts)
            found, ok = dataclasses.asdict(ends), ends.injected == ends.restarts
            found["findings"] = [{"rule": "injected at once", "subject": "", "seen": text} for text in ends.failed]
            self._table({"injected right after containerd came back": str(ends)})
        else:
            layers = self.options.layers == "on"
            plan = storm.Plan(series, self.options.seed, self.options.seconds, int(part[-1]), layers)
            report = storm.run(plan, self.logs / f"{series}-{part.replace(' ', '-')}")
            found, ok = dataclasses.asdict(report), report.ok if layers else seen_without_layers(report)
            self._table(storm_table(report))
            if report.invalid:
                print(f"  not valid: {report.invalid}")
        seconds = round(time.monotonic() - begun, 1)
        print(f"  {'seconds':<62}{seconds:>10}")
        self.record["parts"].append({"runtime": series, "part": part, "ok": ok, "seconds": seconds, **found})
        if not ok:
            self.failed = True
            self._explain(series, part, found["findings"])

    @staticmethod
    def _table(rows: dict[str, Any]) -> None:
        for name, value in rows.items():
            print(f"  {name:<62}{value:>10}", flush=True)

    def _explain(self, series: str, part: str, findings: list[Any]) -> None:
        for finding in findings[:SHOWN]:
            print(f"  {finding['rule']}: {finding['subject']}: {finding['seen'][:WIDTH]}")
        again = f"python hack/chaos.py --seed {self.options.seed} --seconds {self.options.seconds:g} --restarts {self.options.restarts}"
        print(f'  again: {again} --runtime {series} --only "{part}" --layers {self.options.layers}')
        if part.startswith("storm"):
            print(f"  logs:  {self.logs / f'{series}-{part.replace(chr(32), chr(45))}'}")


def storm_table(report: storm.Report) -> dict[str, Any]:
    """The numbers of a storm, by their names."""
    times = report.delays
    return {
        "requests": report.calls,
        "faults": sum(report.faults.values()),
        "faults between a request and its answer (hits)": report.hits,
        **report.outcomes,
        "without a key: requests measured": times.measured,
        "  longest time that was ours, ms": round(times.longest * 1000),
        "  longest step of the runtime for comparison, ms": round(times.step * 1000),
        "  held up over 250 ms by a frozen agent": times.frozen,
        "  longest of those, ms": round(times.longest_frozen * 1000),
        "  over 250 ms in the runtime's queue behind one with a key": times.queued,
        "  longest of those, ms ": round(times.longest_queued * 1000),
        **_violations(report.violations),
    }


def _violations(counts: dict[str, int]) -> dict[str, int]:
    return {f"VIOLATIONS {rule}": count for rule, count in counts.items()}


def seen_without_layers(report: storm.Report) -> bool:
    """Whether the harness saw both kinds of harm."""
    harmed = report.violations[KEYLESS_CHANGED] + report.violations[KEYLESS_DELAYED]
    return bool(report.violations[WITHOUT_DEVICES] and harmed)


def main() -> int:
    """Run the parts that were asked for on the runtimes that were asked for."""
    options = arguments()
    run = Run(options)
    parts = options.only or (PARTS if options.layers == "on" else PARTS[:1])
    print(f"seed {options.seed}")
    status = 0
    try:
        for series in options.runtime or RUNTIMES:
            for part in parts:
                run.part(series, part)
    except LabError as error:
        print(f"chaos: {error}", file=sys.stderr)
        status = 3
    if options.json is not None:
        options.json.write_text(json.dumps(run.record, indent=1, default=str) + "\n")
    if run.failed:
        print("\nnot as promised: see above")
    elif not status:
        print(
            "\nall as promised"
            if options.layers == "on"
            else "\nwithout the layers both kinds of harm are seen, as they must be"
        )
    return status or int(run.failed)


if __name__ == "__main__":
    sys.exit(main())
