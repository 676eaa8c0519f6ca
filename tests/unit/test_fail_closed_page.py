"""docs/fail-closed.md tells of every reason there is and of no other, of settings that exist, and has its tables from docs/data."""

from __future__ import annotations

import re

import pages
import pytest

from nri_cdi import settings
from nri_cdi.agent import DEADLINE
from nri_cdi.inject.refusals import Reason

TEXT = pages.PAGE.read_text()


def section(title: str) -> str:
    """The text below a headline."""
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_the_reasons_in_the_page_are_those_of_the_program() -> None:
    documented = re.findall(r"^\| `([a-z-]+)` \|", section("Reasons"), re.MULTILINE)
    assert documented == [str(reason) for reason in Reason]


def test_every_reason_says_what_it_means_and_what_to_do() -> None:
    rows = re.findall(r"^\| `[a-z-]+` \| (.*) \| (.*) \|$", section("Reasons"), re.MULTILINE)
    assert len(rows) == len(Reason)
    assert all(means and todo for means, todo in rows)


def test_the_settings_in_the_layers_exist_and_have_these_defaults() -> None:
    cells = re.findall(r"^\| [^|]+ \| `([a-z-]+)`, ([a-z0-9]+)", section("The layers"), re.MULTILINE)
    said = {name: default for name, default in cells if name in settings.names()}
    real = settings.load({}, {}, None)
    shown = {
        name: ("on" if value else "off") if isinstance(value, bool) else value
        for name in said
        for value in [getattr(real, name.replace("-", "_"))]
    }
    assert {"pre-start", "guard", "start-gate", "unhealthy-after", "strict-link"} <= said.keys()
    assert said == {name: f"{value:g}" if isinstance(value, float) else value for name, value in shown.items()}
    assert f"0: {DEADLINE:g} s" in section("The layers")


def test_its_tables_are_those_of_the_data() -> None:
    assert pages.filled(TEXT) == TEXT, "run hack/pages.py"


def test_a_page_without_a_marker_is_an_error() -> None:
    with pytest.raises(ValueError, match="must have the marker"):
        pages.filled("no table here")
