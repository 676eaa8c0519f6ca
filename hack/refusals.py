#!/usr/bin/env python3
"""Record what a user sees of every refusal on a real kubelet, and whether and when it passes: `python hack/refusals.py`.

Writes docs/data/refusals.json, from which docs/fail-closed.md has its table and against which tests/cluster compares: run it when a text
has changed. Some five minutes for each series of containerd.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

CHECKOUT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))  # it runs from a checkout that nobody has installed

# below the line that makes them importable
from lab.cluster import Cluster  # noqa: E402
from lab.equipped import Equipped  # noqa: E402
from lab.refusing import CASES, LAYERS, Stage, play  # noqa: E402
from lab.trouble import LabError  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lab.refusing import Row

SERIES: Final = ("1.7", "2.1", "2.4")
RECORD: Final = CHECKOUT / "docs" / "data" / "refusals.json"


def measure(series: str, layers: Sequence[str], output: Path) -> None:
    """Measure these layers on a cluster with containerd `series`, and write each to the record as soon as it is known."""
    with Cluster(series) as cluster:
        info = cluster.kubelet.node()["status"]["nodeInfo"]
        versions = {series: {"kubelet": info["kubeletVersion"], "containerd": info["containerRuntimeVersion"]}}
        stage = Stage(Equipped(cluster, len(CASES) + 1))
        for name in layers:
            started = time.monotonic()
            rows = play(stage, LAYERS[name], CASES)
            old = json.loads(output.read_text()) if output.exists() else {}
            output.parent.mkdir(parents=True, exist_ok=True)
            output.write_text(json.dumps(merged(old, versions, rows), indent=2) + "\n")
            recovered = sum(row.recovers for row in rows)
            print(
                f"{series}  {name:<24} {len(rows)} refused, {recovered} of them run again by themselves   "
                f"({time.monotonic() - started:.0f} s)",
                flush=True,
            )


def merged(old: dict[str, Any], versions: dict[str, dict[str, str]], rows: Sequence[Row]) -> dict[str, Any]:
    """The record `old` with what was measured now in the place of the same rows of before."""
    table = {_key(row): row for row in old.get("rows", [])} | {row.key(): asdict(row) for row in rows}
    order = {name: number for number, name in enumerate(LAYERS)}
    return {
        "layers": {name: layer.what for name, layer in LAYERS.items()},
        "versions": {**old.get("versions", {}), **versions},
        "rows": sorted(table.values(), key=lambda row: (row["runtime"], order.get(row["layer"], 99), *_key(row)[2:])),
    }


def table(record: dict[str, Any]) -> str:
    """The record as a Markdown table with a row for each layer, as docs/fail-closed.md has it, and what it was measured on."""
    kubelets = dict.fromkeys(version["kubelet"] for version in record["versions"].values())
    lines = [
        f"Kubernetes {', '.join(kubelets)}, containerd {', '.join(record['versions'])}: the same on all. Where a text is not, its containerd stands beside it.",
        "",
        "| what is the matter | `kubectl get pod` | the event's text | runs by itself once that is over |",
        "| --- | --- | --- | --- |",
    ]
    for name, what in record["layers"].items():
        rows = [row for row in record["rows"] if row["layer"] == name]
        statuses = dict.fromkeys(row["status"].removeprefix("Init:") for row in rows)
        texts: dict[str, list[str]] = {}
        for row in rows:
            if (row["kind"], row["restart"]) == ("app", "Always"):
                texts.setdefault(row["message"], []).append(row["runtime"])
        seconds = [row["seconds"] for row in rows if row["recovers"]]
        lost = sorted({f"{row['kind']} with restartPolicy {row['restart']}" for row in rows if not row["recovers"]})
        verdict = f"yes, after {min(seconds):.0f} to {max(seconds):.0f} s"
        if lost:
            verdict += f"; not for {', '.join(lost)}: the pod has failed"
        lines.append(
            f"| `{name}`: {what} | {', '.join(f'`{status}`' for status in statuses)} | {_told(texts)} | {verdict} |"
        )
    return "\n".join(lines)


def _told(texts: Mapping[str, Sequence[str]]) -> str:
    """An event's texts by the series of containerd on which they are so, as one where the others only have something behind it."""
    common = min(texts, key=len)
    if not all(text.startswith(common) for text in texts):
        return "<br>".join(f"`{text}` (containerd {', '.join(where)})" for text, where in texts.items())
    longer = [(text.removeprefix(common), where) for text, where in texts.items() if text != common]
    return f"`{common}`" + "".join(f" (and `{rest}` on containerd {', '.join(where)})" for rest, where in longer)


def _key(row: dict[str, Any]) -> tuple[str, str, str, str]:
    return row["runtime"], row["layer"], row["kind"], row["restart"]


def main() -> int:
    """Read the command line, measure, write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--runtime", action="append", metavar="SERIES", help=f"of containerd (default: {', '.join(SERIES)})"
    )
    parser.add_argument("--layer", action="append", choices=LAYERS, help="only this one; may be repeated")
    parser.add_argument(
        "--output", type=Path, default=RECORD, metavar="FILE", help="(default: docs/data/refusals.json)"
    )
    parser.add_argument("--table", action="store_true", help="measure nothing, print the record as a Markdown table")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(json.loads(arguments.output.read_text())))
        return 0
    try:
        for series in arguments.runtime or SERIES:
            measure(series, arguments.layer or tuple(LAYERS), arguments.output)
    except LabError as error:
        print(f"refusals: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
