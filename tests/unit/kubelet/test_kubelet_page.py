"""docs/device-plugin.md says of every setting of the kubelet half what the program does."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from nri_cdi.settings import Settings

PAGE = Path(__file__).resolve().parents[3] / "docs" / "device-plugin.md"

OF_THE_NRI_HALF = {
    "nri_socket",
    "plugin_name",
    "plugin_index",
    "deadline",
    "start_gate",
    "strict_link",
    "foreign_keys",
    "trust_pod_annotations",
    "allow_kind",
    "allow_namespace",
    "allow_hook",
    "allow_mount",
}
"""What this half does not read."""


def table() -> list[tuple[str, str, str, str]]:
    section = PAGE.read_text().partition("\n## Settings\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([a-z-]+)` \| (.*?) \| (.*?) \| (.*) \|$", section, re.MULTILINE)
    return [(name.replace("-", "_"), unit, default, meaning) for name, unit, default, meaning in rows]


def shown(default: Any) -> str:  # noqa: ANN401  # whatever a setting has
    """A default as the page writes it."""
    if isinstance(default, bool):
        return "`on`" if default else "`off`"
    if isinstance(default, float):
        return f"{default:g}"
    if isinstance(default, tuple):
        return ", ".join(f"`{one}`" for one in default) or "none"
    return f"`{default}`" if default else "none"


def test_the_table_has_every_setting_of_this_half_with_unit_and_default() -> None:
    known = {field.name: field for field in fields(Settings) if field.name not in OF_THE_NRI_HALF}
    rows = table()
    assert sorted(name for name, _, _, _ in rows) == sorted(known)
    for name, unit, default, meaning in rows:
        field = known[name]
        several = ", list" if isinstance(field.default, tuple) else ""
        assert unit == field.metadata["metavar"].replace("on|off", "on or off") + several
        assert default == ("control nodes" if name == "shared_node" else shown(field.default))
        assert len(meaning) > 20
