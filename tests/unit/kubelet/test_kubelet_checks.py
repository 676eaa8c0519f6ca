"""The places of the checks before containers' starts."""

from __future__ import annotations

import contextlib

import pytest

from nri_cdi.kubelet.checks import CHECKS, HANGS, Checks, Unchecked


class Clock:
    """A clock that the test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_so_many_checks_have_a_place_and_the_next_one_when_one_of_them_is_over() -> None:
    checks = Checks()
    with contextlib.ExitStack() as under_way:
        for number in range(CHECKS - 1):
            under_way.enter_context(checks.of([f"d{number}"]))
        with checks.of(["one"]), pytest.raises(Unchecked, match=f"checks {CHECKS} other containers"):
            under_way.enter_context(checks.of(["another"]))
        under_way.enter_context(checks.of(["another"]))


def test_a_check_that_breaks_gives_its_place_back() -> None:
    checks = Checks()
    for _ in range(CHECKS + 1):
        with pytest.raises(KeyError), checks.of(["d0"]):
            raise KeyError


@pytest.mark.parametrize(
    ("hanging", "asked", "refused"),
    [
        pytest.param(["dead"], ["dead"], True, id="the same device"),
        pytest.param(["dead"], ["dead", "good"], True, id="among others"),
        pytest.param(["dead"], ["good"], False, id="another device"),
        pytest.param(["dead", "good"], ["good"], False, id="which of the two hangs is not known"),
        pytest.param(["dead", "good"], ["good", "dead"], True, id="the same two"),
    ],
)
def test_of_a_device_whose_check_hangs_no_other_check_begins(
    hanging: list[str], asked: list[str], *, refused: bool
) -> None:
    clock = Clock()
    checks = Checks(clock)
    with checks.of(hanging):
        clock.now += HANGS - 0.1
        with checks.of(asked):
            pass  # it may still come back
        clock.now += 60.1
        expected = (
            pytest.raises(
                Unchecked, match=f"^{', '.join(sorted(hanging))} cannot be looked at: .* 63 s ago has not come back$"
            )
            if refused
            else contextlib.nullcontext()
        )
        with expected, checks.of(asked):
            pass
    with checks.of(asked):
        pass  # it came back
