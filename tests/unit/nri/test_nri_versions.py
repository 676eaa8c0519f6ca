"""Which NRI a runtime speaks."""

from __future__ import annotations

import pytest

from nri_cdi.nri import Version, nri_version
from nri_cdi.nri.versions import parse


@pytest.mark.parametrize(
    ("runtime", "version", "nri"),
    [
        ("containerd", "v1.7.0", "0.6.0"),
        ("containerd", "1.7.15", "0.6.0"),
        ("containerd", "1.7.16", "0.6.1"),
        ("containerd", "1.7.24", "0.6.1"),
        ("containerd", "1.7.24~ds1", "0.6.1"),
        ("containerd", "1.7.25", "0.6.1"),
        ("containerd", "1.7.26", "0.8.0"),
        ("containerd", "1.7.30", "0.8.0"),
        ("containerd", "v2.0.0", "0.8.0"),
        ("containerd", "2.1.9+unknown", "0.8.0"),
        ("containerd", "2.2.0", "0.10.0"),
        ("containerd", "2.2.0-rc.1", "0.10.0"),
        ("containerd", "v2.2.1", "0.11.0"),
        ("containerd", "2.2.9", "0.11.0"),
        ("containerd", "2.3", "0.12.0"),
        ("containerd", "v2.4.2", "0.12.3"),
        ("containerd", "3.0.0", "0.12.3"),
        ("cri-o", "1.31.5", "0.6.0"),
        ("cri-o", "1.32.0", "0.9.0"),
        ("CRI-O", "1.33.4", "0.9.0"),
        ("cri-o", "1.34.2", "0.10.0"),
        ("cri-o", "1.35.0", "0.11.0"),
        ("something", "9.9.9", "0.6.0"),
        ("containerd", "", "0.6.0"),
        ("containerd", "unknown", "0.6.0"),
    ],
)
def test_a_runtime_that_does_not_say_its_nri_is_known_by_its_own_version(runtime: str, version: str, nri: str) -> None:
    assert str(nri_version(runtime, version, "")) == nri


@pytest.mark.parametrize(
    ("announced", "nri"), [("v0.12.0", "0.12.0"), ("v0.12.5", "0.12.5"), ("0.13.1-rc.1", "0.13.1"), ("devel", "0.8.0")]
)
def test_the_announced_nri_version_wins_where_it_is_one(announced: str, nri: str) -> None:
    assert str(nri_version("containerd", "2.1.9", announced)) == nri


def test_versions_compare_by_number() -> None:
    assert Version(0, 12, 0) > Version(0, 9, 9)
    assert parse("v0.10.0") == Version(0, 10, 0)
    assert parse("none") is None
