from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nri_cdi.kubelet.preferred import preferred


@pytest.mark.parametrize(
    ("available", "must_include", "size", "answer"),
    [
        (["d10", "d2", "d1"], [], 2, ("d1", "d2")),
        (["d10", "d2", "d1"], ["d10"], 2, ("d10", "d1")),
        (["d10", "d2", "d1"], ["d10", "d2"], 2, ("d2", "d10")),
        (["d1", "d2"], ["d1", "d2"], 1, ("d1", "d2")),
        (["d1"], [], 5, ("d1",)),
        (["d1", "d1"], ["d1", "d1"], 2, ("d1",)),
        (["d1"], ["elsewhere"], 2, ("elsewhere", "d1")),
        (["d1"], [], 0, ()),
        (["d1"], [], -1, ()),
        ([], [], 3, ()),
    ],
)
def test_what_must_be_included_comes_first_then_the_natural_order(
    available: list[str], must_include: list[str], size: int, answer: tuple[str, ...]
) -> None:
    assert preferred(available, must_include, size) == answer


@given(st.lists(st.text()), st.lists(st.text()), st.integers(-(2**31), 2**31 - 1))
def test_whatever_comes_in_the_answer_is_as_long_as_it_can_be_and_never_an_error(
    available: list[str], must_include: list[str], size: int
) -> None:
    answer = preferred(available, must_include, size)
    must, every = set(must_include), set(available) | set(must_include)
    assert must <= set(answer) <= every
    assert len(answer) == len(set(answer)) == max(len(must), min(size, len(every)))
