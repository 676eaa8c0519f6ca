from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from lab.config import native_cdi_always

DEMO = Path(__file__).resolve().parents[2] / "hack" / "demo_kubernetes.py"
NATIVE = "2.4"
"""A series whose own CDI cannot be off."""


def demo(series: str) -> subprocess.CompletedProcess[str]:
    """The demo on this series of containerd."""
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, str(DEMO)],
        check=False,
        capture_output=True,
        text=True,
        timeout=220,
        env={**os.environ, "RUNTIME": series},
    )


@pytest.mark.timeout(240)
@pytest.mark.one_series("its scene is that of test_first_scene")
def test_the_demo_on_kubernetes_holds(series: str) -> None:
    if native_cdi_always(series):
        pytest.skip(f"the demo shows a containerd whose own CDI is off, {series} cannot be such")
    done = demo(series)
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("Insufficient device.example.com/gpu", "PreStartContainer", "checks hold"):
        assert words in " ".join(done.stdout.split())


def test_the_demo_says_that_it_needs_a_containerd_whose_own_cdi_can_be_off() -> None:
    done = demo(NATIVE)
    assert (done.returncode, done.stderr.count("has no enable_cdi to switch off")) == (3, 1)
