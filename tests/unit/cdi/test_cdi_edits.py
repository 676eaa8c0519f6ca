"""Edits combined, in the order the specification fixes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from nri_cdi.cdi import ContainerEdits, IntelRdt, combine
from nri_cdi.testing import specs


def test_nothing_combines_to_nothing() -> None:
    assert combine([]).is_empty


def test_lists_are_joined_in_order_and_repeats_stay() -> None:
    first = ContainerEdits(env=("A=1",), additional_gids=(1,))
    second = ContainerEdits(env=("B=2", "A=1"), additional_gids=(1,))
    combined = combine([first, second])
    assert combined.env == ("A=1", "B=2", "A=1")
    assert combined.additional_gids == (1, 1)


def test_the_last_rdt_settings_that_are_there_win() -> None:
    parts = [
        ContainerEdits(intel_rdt=IntelRdt("a")),
        ContainerEdits(intel_rdt=IntelRdt()),
        ContainerEdits(env=("A=1",)),
    ]
    assert combine(parts).intel_rdt == IntelRdt()


def test_rdt_settings_without_content_are_not_empty() -> None:
    assert not ContainerEdits(intel_rdt=IntelRdt()).is_empty
    assert ContainerEdits().is_empty


@settings(max_examples=40)
@given(st.lists(specs.edits, max_size=2), st.lists(specs.edits, max_size=2))
def test_combining_is_associative(left: list[ContainerEdits], right: list[ContainerEdits]) -> None:
    assert combine([combine(left), combine(right)]) == combine(left + right)
