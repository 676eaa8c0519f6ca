from __future__ import annotations

from typing import TYPE_CHECKING

from chaoslab import link, steps, storm
from chaoslab.ledger import KEYLESS_CHANGED, KEYLESS_DELAYED, RULES, WITHOUT_DEVICES
from chaoslab.proxy import Cut
from lab.fixtures import SERIES

if TYPE_CHECKING:
    from pathlib import Path

ONE = SERIES[0]
"""The harness is the same on all of them; `make chaos` runs it on all."""

CUTS = (
    Cut("Configure", answer=False, how="cut 0"),
    Cut("CreateContainer", answer=True, how="hold"),
    Cut("StartContainer", answer=False, how="freeze"),
)


def test_without_the_layers_the_harness_sees_both_kinds_of_harm(tmp_path: Path) -> None:
    report = storm.run(storm.Plan(ONE, seed=1, seconds=6, slots=1, layers=False), tmp_path, wanted_hits=1)
    assert report.invalid == ""
    assert report.violations[WITHOUT_DEVICES] > 0
    assert report.violations[KEYLESS_CHANGED] + report.violations[KEYLESS_DELAYED] > 0
    assert (tmp_path / "containerd.log").exists()


def test_the_steps_of_the_protocol_can_be_cut_and_the_promise_holds() -> None:
    result = steps.run(ONE, CUTS)
    assert result.violations == dict.fromkeys(RULES, 0), result.findings
    assert result.ended["without a key: ran unchanged"] >= len(CUTS)


def test_the_first_container_after_a_restart_is_injected_or_guarded() -> None:
    """Injected where the machine is not so busy that the agent comes late; `make chaos` wants each of them injected."""
    result = link.run(ONE, 3)
    assert result.injected + sum("the guard stands" in text for text in result.failed) == result.restarts
    assert result.injected > 0
