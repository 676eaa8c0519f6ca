from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from lab.config import native_cdi_always

DEMO = Path(__file__).resolve().parents[2] / "hack" / "demo_kubernetes.py"


@pytest.mark.timeout(240)
def test_the_demo_on_kubernetes_holds(series: str) -> None:
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, str(DEMO)],
        check=False,
        capture_output=True,
        text=True,
        timeout=220,
        env={**os.environ, "RUNTIME": series},
    )
    if native_cdi_always(series):
        assert (done.returncode, done.stderr.count("has no enable_cdi to switch off")) == (3, 1)
        return
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("Insufficient device.example.com/gpu", "PreStartContainer", "checks hold"):
        assert words in " ".join(done.stdout.split())
