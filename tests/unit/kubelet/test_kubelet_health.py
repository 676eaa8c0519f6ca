"""The state table of one device's health, and of the NRI half's absence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nri_cdi.kubelet import health as healths
from nri_cdi.kubelet import link
from nri_cdi.kubelet.changes import Change
from nri_cdi.kubelet.health import WAVERING, Health, due, first, remembered, settle, settled, step

GONE = "/dev/x is not there"


def played(health: Health, *looks: tuple[float, str]) -> list[bool]:
    """What the kubelet is told after each look: (time, reason)."""
    told = []
    for now, reason in looks:
        health = step(health, reason, now)
        told.append(health.healthy)
    return told


@pytest.mark.parametrize(
    ("start", "looks", "told"),
    [
        pytest.param(first(GONE), [(1, GONE), (2, "")], [False, True], id="a first recovery is told at once"),
        pytest.param(first(""), [(1, GONE), (2, GONE)], [False, False], id="a node that goes is told at once"),
        pytest.param(
            settle(first(""), 10), [(1, GONE), (9, GONE), (10, GONE)], [True, True, False], id="it settles until then"
        ),
        pytest.param(settle(first(""), 10), [(1, GONE), (5, "")], [True, True], id="a short outage is not told"),
        pytest.param(
            settled(settle(first(""), 10)), [(1, GONE)], [False], id="what is certain is told though it settled"
        ),
        pytest.param(
            settle(first(GONE), 10), [(1, GONE), (2, "")], [False, True], id="an unhealthy device has nothing to settle"
        ),
        pytest.param(
            remembered(GONE, 60), [(30, GONE), (31, "")], [True, True], id="a node that comes late after a boot"
        ),
        pytest.param(remembered(GONE, 60), [(60, GONE)], [False], id="a node that does not come"),
        pytest.param(
            first(""),
            [(1, GONE), (2, ""), (3, GONE), (4, ""), (5, GONE), (6, ""), (15, ""), (16, "")],
            [False, True, False, True, False, False, False, True],
            id="a device that breaks again and again after it recovered must stay in order",
        ),
        pytest.param(
            first(""),
            [(1, GONE), (2, ""), (3, GONE), (4, ""), (5, GONE), (6, ""), (15, GONE), (16, ""), (25, ""), (26, "")],
            [False, True, False, True, False, False, False, False, False, True],
            id="and its time begins anew when it does not",
        ),
        pytest.param(
            first(""),
            [(1, GONE), (2, ""), (3, GONE), (4, ""), (4 + WAVERING, GONE), (15, ""), (16, GONE), (17, "")],
            [False, True, False, True, False, True, False, True],
            id="breaking later is no wavering",
        ),
    ],
)
def test_what_the_kubelet_is_told_of_a_device(start: Health, looks: list[tuple[float, str]], told: list[bool]) -> None:
    assert played(start, *looks) == told


_looks = st.lists(st.tuples(st.floats(0.1, 20), st.sampled_from(["", GONE, "other"])), max_size=12)


@given(_looks, st.floats(0, 40))
def test_a_reason_is_kept_for_everything_that_is_wrong_and_time_alone_changes_nothing_before_it_is_due(
    looks: list[tuple[float, str]], until: float
) -> None:
    health, now = settle(first(""), until), 0.0
    for pause, reason in looks:
        now += pause
        health = step(health, reason, now)
        assert bool(health.reason) or health.healthy
        assert health.healthy or healths.said(health)
        if reason:
            assert health.reason == reason
            assert health.healthy == (now < health.settled_at)
        moment = due(health)
        before = now if moment is None else (now + moment) / 2
        assert step(health, reason, before).healthy == health.healthy
        if moment is not None and moment > now:
            assert step(health, reason, moment).healthy != health.healthy


def test_a_look_that_finds_nothing_new_is_the_same_value() -> None:
    for health, reason in ((first(""), ""), (first(GONE), GONE), (settle(first(""), 9), "")):
        assert step(health, reason, 1.0) is health


def test_a_device_that_has_to_prove_itself_says_so_in_the_same_words_whether_it_is_there_now_or_not() -> None:
    health, said = first(""), []
    for number in range(1, 12):
        health = step(health, GONE if number % 2 else "", float(number))
        said.append(healths.said(health))
    assert said == [GONE, "", GONE, ""] + [f"{GONE}; it came and went before, so it has to be there for 10 s"] * 7
    assert healths.said(step(step(health, "", 12.0), "", 12.0 + WAVERING)) == ""


def test_the_nri_halfs_absence_makes_devices_unhealthy_only_after_its_time_and_that_of_all_that_began_since() -> None:
    down = link.answered(link.answered(link.Link(), "not there", 100.0), "still not", 110.0)
    assert down.down_since == 100.0
    for starts, moment in (((0.0,), 220.0), ((0.0, 150.0), 270.0), ((float("-inf"),), 220.0)):
        assert link.due(down, 120.0, starts) == moment
        assert link.reason(down, 120.0, starts, moment - 0.1) == ""
        assert (
            link.reason(down, 120.0, starts, moment) == "the NRI half of nri-cdi is away for more than 120 s: still not"
        )
    assert link.answered(down, None, 300.0) == link.Link()
    assert link.reason(down, 0.0, (0.0,), 1e9) == ""
    assert link.reason(link.Link(), 120.0, (0.0,), 1e9) == ""


def test_the_nri_halfs_absence_is_in_the_log_once_after_some_seconds_and_so_is_its_return() -> None:
    state, said = link.Link(), []
    for now, problem in enumerate(["starting", None, *["not there"] * 9, "refuses", None, None]):
        before, state = state, link.answered(state, problem, now)
        if (line := link.change(before, state)) is not None:
            said.append((now, line))
    assert said == [
        (2 + link.UNSAID, Change("the NRI half has not been there for 5 s: not there", alarming=True)),
        (12, Change("the NRI half is there again")),
    ]
