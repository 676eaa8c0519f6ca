"""What docs/data/refusals.json says of refusals is what a user sees on this kubelet now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import refusals
from lab.refusing import CASES, LAYERS, Case, Stage, play

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.equipped import Equipped

RECORD = json.loads((Path(__file__).resolve().parents[2] / "docs" / "data" / "refusals.json").read_text())

SOME_CASES = (
    Case("app", "Always"),
    Case("app", "Never"),
    Case("init", "OnFailure"),
    Case("sidecar", "Never"),
    Case("restarted", "Always"),
)
SOME_LAYERS = ("prestart-nri-half-down", "create-mount-missing", "start-gate", "guard")

MEASURED = ("seconds",)


def recorded(series: str, layer: str, case: Case) -> dict[str, Any]:
    """The record of one row, without what was measured."""
    wanted = (series, layer, case.kind, case.restart)
    for row in RECORD["rows"]:
        if (row["runtime"], row["layer"], row["kind"], row["restart"]) == wanted:
            return {name: value for name, value in row.items() if name not in MEASURED}
    return {}


@pytest.fixture
def stage(running_cluster: Equipped) -> Iterator[Stage]:
    running_cluster.tidy()
    yield Stage(running_cluster)
    running_cluster.tidy()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("layer", SOME_LAYERS)
def test_a_refusal_looks_as_it_is_recorded(stage: Stage, series: str, layer: str, *, patient: bool) -> None:
    rows = play(stage, LAYERS[layer], SOME_CASES, nudged=not patient)
    seen = {(row.kind, row.restart): row.shown() for row in rows}
    assert seen == {(case.kind, case.restart): recorded(series, layer, case) for case in SOME_CASES}, (
        "if the new texts are right, record them: hack/refusals.py"
    )


def test_the_record_is_complete_and_has_nothing_else() -> None:
    rows = {(row["runtime"], row["layer"], row["kind"], row["restart"]) for row in RECORD["rows"]}
    assert rows == {
        (series, layer, case.kind, case.restart) for series in RECORD["versions"] for layer in LAYERS for case in CASES
    }
    assert set(RECORD["versions"]) == {"1.7", "2.1", "2.4"}


def test_the_series_differ_in_the_texts_alone() -> None:
    seen: dict[str, list[dict[str, Any]]] = {series: [] for series in RECORD["versions"]}
    for row in RECORD["rows"]:
        other = {*MEASURED, "runtime", "message"}
        seen[row["runtime"]].append({name: value for name, value in row.items() if name not in other})
    assert seen["1.7"] == seen["2.1"] == seen["2.4"]


@pytest.mark.parametrize(
    ("texts", "cell"),
    [
        ({"1.7": "no", "2.4": "no"}, "| `no` |"),
        ({"1.7": "no: unknown", "2.1": "no", "2.4": "no"}, "| `no` (and `: unknown` on containerd 1.7) |"),
        ({"1.7": "no", "2.1": "never", "2.4": "no"}, "| `no` (containerd 1.7, 2.4)<br>`never` (containerd 2.1) |"),
    ],
    ids=["the same", "longer", "another"],
)
def test_the_page_names_the_containerd_of_a_text_that_is_not_the_same_on_all(texts: dict[str, str], cell: str) -> None:
    one = {"layer": "guard", "kind": "app", "restart": "Always", "status": "S", "recovers": True, "seconds": 1.0}
    rows = [{**one, "runtime": series, "message": text} for series, text in texts.items()]
    versions = {series: {"kubelet": "v1"} for series in texts}
    assert cell in refusals.table({"layers": {"guard": "it"}, "versions": versions, "rows": rows})


def test_only_start_gate_and_guard_end_a_pod_and_only_where_nothing_is_ever_tried_again() -> None:
    ended = {(row["layer"], row["kind"], row["restart"]) for row in RECORD["rows"] if not row["recovers"]}
    # a sidecar is tried again under any policy of its pod
    assert ended == {(layer, kind, "Never") for layer in ("start-gate", "guard") for kind in ("app", "init")}
