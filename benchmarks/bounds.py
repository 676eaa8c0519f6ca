"""Figures beside the bounds that they are held to: a table for people, data for programs, an exit status."""

from __future__ import annotations

import argparse
import json
import os
import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured. `bound`: what it must not pass; None where nothing is promised. `note` says what it is seen beside."""

    name: str
    value: float
    unit: str
    bound: float | None = None
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether it keeps to its bound."""
        return self.bound is None or self.value <= self.bound

    def __str__(self) -> str:
        bound = "" if self.bound is None else f"{'at most' if self.holds else 'BROKEN: at most'} {_number(self.bound)}"
        return f"  {self.name:44} {_number(self.value):>9} {self.unit:5} {bound:24} {self.note}".rstrip()


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def percentile(times: Sequence[float], part: float) -> float:
    """The value below which this part of all (0 to 1) lies."""
    ordered = sorted(times)
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)]


def distribution(name: str, times: Sequence[float], unit: str = "ms") -> list[Figure]:
    """Median, p99 and the longest; without bounds."""
    return [
        Figure(f"{name}, median", statistics.median(times), unit, note=f"of {len(times)}"),
        Figure(f"{name}, p99", percentile(times, 0.99), unit),
        Figure(f"{name}, longest", max(times), unit),
    ]


def report(groups: dict[str, list[Figure]], *, as_json: bool, check: bool) -> int:
    """Print the figures; the exit status: 1 if a bound is broken and that is what is asked."""
    if as_json:
        print(
            json.dumps({title: [asdict(figure) for figure in figures] for title, figures in groups.items()}, indent=2)
        )
    else:
        for title, figures in groups.items():
            print(title, *figures, sep="\n")
        print(f"load of the machine: {', '.join(f'{load:.1f}' for load in os.getloadavg())}")
    broken = any(not figure.holds for figures in groups.values() for figure in figures)
    return int(check and broken)


def options(doc: str | None) -> argparse.ArgumentParser:
    """What both programs that hold bounds understand."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a bound is broken")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, to see that it runs")
    return parser
