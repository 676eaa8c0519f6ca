from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nri_cdi.kubelet.order import natural


@pytest.mark.parametrize(
    "ordered",
    [
        ["device_0", "device_2", "device_10"],
        ["", "0", "00", "01", "1", "2", "10", "a"],
        ["gpu0:1", "gpu0:2", "gpu0:10", "gpu1:0"],
        ["1a", "1b", "2", "a1b2", "a1b10", "a2"],
        ["7" * 5000, "8" * 5000, "1" + "0" * 5000],
        ["²", "٣"],  # digits of other scripts are letters here
    ],
)
def test_numbers_within_names_are_compared_as_numbers(ordered: list[str]) -> None:
    shuffled = ordered[1::2] + ordered[::2]
    assert sorted(shuffled, key=natural) == ordered


@given(st.lists(st.text(), unique=True))
def test_any_two_texts_are_told_apart(names: list[str]) -> None:
    assert len({natural(name) for name in names}) == len(names)


@given(st.integers(min_value=0), st.integers(min_value=0))
def test_numbered_devices_are_in_the_order_of_their_numbers(a: int, b: int) -> None:
    assert (natural(f"device_{a}") < natural(f"device_{b}")) == (a < b)
