from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from lab.config import native_cdi_always

DEMO = Path(__file__).resolve().parents[2] / "hack" / "demo.py"


def run(series: str, record: Path) -> subprocess.CompletedProcess[str]:
    """The demo as `make demo` runs it."""
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, str(DEMO)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "RUNTIME": series, "DEMO_JSON": str(record)},
    )


def test_the_demo_holds_and_records_what_the_runtime_answered(series: str, tmp_path: Path) -> None:
    done = run(series, tmp_path / "demo.json")
    if native_cdi_always(series):
        assert (done.returncode, done.stderr.count("has no enable_cdi to switch off")) == (3, 1)
        return
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((tmp_path / "demo.json").read_text())

    assert record["ok"] is True
    assert record["runtime"]["enable_cdi"] is False
    assert {pod["name"]: len(pod["dev"]) for pod in record["pods"]} == {
        "one": 4,
        "two": 3,
        "three": 2,
        "four": 1,
        "five": 1,
    }
    assert all(pod["dev"] == sorted(pod["devices"]) for pod in record["pods"])
    assert [(one["pod"], one["reason"]) for one in record["refusals"]] == [
        ("three", "Unschedulable"),
        ("five", "Unschedulable"),
        ("four", "CreateContainerConfigError"),
        ("four", "RunContainerError"),
    ]


def test_without_a_runtime_the_demo_says_what_is_missing_and_how_to_get_it(tmp_path: Path) -> None:
    done = run("0.1", tmp_path / "demo.json")
    assert done.returncode == 3
    assert "containerd 0.1 is not in" in done.stderr
    assert "run `hack/get-runtime 0.1`" in done.stderr
    assert json.loads((tmp_path / "demo.json").read_text())["ok"] is False
