from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lab.config import Options, merged, native_cdi_always, table, toml, version

BARE_KEYS = st.text("abcdefghijklmnopqrstuvwxyz_-0123456789", min_size=1, max_size=8)
QUOTED_KEYS = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=8)
TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x7f"), max_size=12)
SCALARS = st.booleans() | st.integers(-(2**53), 2**53) | TEXT
VALUES = st.dictionaries(BARE_KEYS, SCALARS | st.lists(SCALARS, max_size=3), min_size=1, max_size=3)
TABLES = st.recursive(VALUES, lambda below: st.dictionaries(QUOTED_KEYS, below, min_size=1, max_size=3), max_leaves=6)


@settings(deadline=None)
@given(TABLES)
def test_a_table_is_the_same_after_toml(content: dict[str, Any]) -> None:
    assert tomllib.loads(toml(content)) == content


@pytest.mark.parametrize(
    ("series", "expected", "always"),
    [
        ("1.7", (1, 7), False),
        ("2.1", (2, 1), False),
        ("2.3", (2, 3), False),
        ("2.4", (2, 4), True),
        ("2.10-x", (2, 10), True),
    ],
)
def test_a_series_has_a_version_and_from_2_4_on_its_own_cdi_always(
    series: str, expected: tuple[int, int], *, always: bool
) -> None:
    assert version(series) == expected
    assert native_cdi_always(series) is always


def test_what_is_no_series_is_refused() -> None:
    with pytest.raises(ValueError, match="not a containerd series: 'latest'"):
        version("latest")


@pytest.mark.parametrize("native", [True, False])
def test_native_cdi_is_always_written_out_where_the_runtime_has_the_switch(*, native: bool) -> None:
    for series, plugin in (("1.7", "io.containerd.grpc.v1.cri"), ("2.1", "io.containerd.cri.v1.runtime")):
        cri = table(series, "/runc", "pause", Options(native_cdi=native))["plugins"][plugin]
        assert cri["enable_cdi"] is native
        assert cri["cdi_spec_dirs"] == ["/etc/cdi", "/var/run/cdi"]


def test_where_native_cdi_cannot_be_switched_off_it_finds_no_specs() -> None:
    cri = table("2.4", "/runc", "pause", Options())["plugins"]["io.containerd.cri.v1.runtime"]
    assert "enable_cdi" not in cri
    assert cri["cdi_spec_dirs"] == ["/run/no-cdi"]


def test_extra_settings_are_laid_over_the_others_table_by_table() -> None:
    base = {"a": {"b": 1, "c": 2}, "d": 3}
    assert merged(base, {"a": {"c": 4}, "e": 5}) == {"a": {"b": 1, "c": 4}, "d": 3, "e": 5}
    assert base == {"a": {"b": 1, "c": 2}, "d": 3}
    assert table("1.7", "/runc", "pause", Options(extra={"debug": {"level": "warn"}}))["debug"] == {"level": "warn"}
