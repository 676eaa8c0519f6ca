"""Allocations and injections joined by id: the state of each, from whoever knew."""

from __future__ import annotations

from typing import Final

import pytest

from nri_cdi.account import Account, Injection
from nri_cdi.kubelet.carried import Carried
from nri_cdi.kubelet.joined import Row, State, join

KIND: Final = "device.example.com/gpu"
FINE: Final = Injection("team", "pod", "main", "c1", f"{KIND}=device_0,{KIND}=device_1")
LACKS: Final = Injection("team", "pod", "main", "c1", f"{KIND}=device_0,{KIND}=device_1", "it lacks 1")
ALLOCATED: Final = Carried("uid", "main", KIND, ("device_0", "device_1"), guarded=True, allocation="a")


def account(injections: dict[str, Injection], *, synchronized: bool = True, left_out: int = 0) -> Account:
    return Account("0", synchronized, "", injections, left_out)


def away(injections: dict[str, Injection]) -> Account:
    return account(injections, synchronized=False)


STATES: Final = {
    "injected": ([account({"a": FINE})], State.INJECTED),
    "faulty": ([account({"a": LACKS})], State.FAULTY),
    "no container": ([account({"b": FINE})], State.WAITING),
    "nobody to ask": ([], State.UNKNOWN),
    "one that has not looked yet": ([away({})], State.UNKNOWN),
    "one that was cut off, which remembers": ([away({"a": FINE})], State.INJECTED),
    "one that may have forgotten it": ([account({}, left_out=1)], State.UNKNOWN),
    "one that may have forgotten it, one that has not": ([account({}, left_out=1), account({})], State.WAITING),
    "either slot suffices": ([account({"a": FINE}), account({})], State.INJECTED),
    "either slot suffices, the other way": ([account({}), account({"a": FINE})], State.INJECTED),
    "a fault that one slot saw": ([account({"a": LACKS}), account({"a": FINE})], State.FAULTY),
    "a fault that the other slot saw": ([account({"a": FINE}), account({"a": LACKS})], State.FAULTY),
    "an old fault of one that was cut off": ([away({"a": LACKS}), account({"a": FINE})], State.INJECTED),
    "an old word of one that was cut off": ([account({}), away({"a": FINE})], State.WAITING),
}


@pytest.mark.parametrize(("accounts", "state"), STATES.values(), ids=STATES)
def test_an_allocation_is_in_the_state_that_those_who_can_know_say(accounts: list[Account], state: State) -> None:
    rows = {row.allocation: row.state for row in join([ALLOCATED], accounts)}
    assert rows["a"] is state


def test_a_row_has_what_both_sides_know() -> None:
    assert join([ALLOCATED], [account({"a": LACKS})]) == [
        Row("a", State.FAULTY, "team/pod", "uid", "main", "c1", KIND, ("device_0", "device_1"), "it lacks 1")
    ]


@pytest.mark.parametrize("injection", [FINE, LACKS])
def test_what_the_kubelet_does_not_know_is_gone_and_no_fault(injection: Injection) -> None:
    (row,) = join([], [account({"a": injection})])
    assert (row.state, row.pod, row.devices) == (State.GONE, "team/pod", (f"{KIND}=device_0", f"{KIND}=device_1"))


@pytest.mark.parametrize(("injection", "state"), [(FINE, State.INJECTED), (LACKS, State.FAULTY)])
def test_where_the_kubelet_cannot_be_asked_the_word_of_the_nri_half_stands(injection: Injection, state: State) -> None:
    assert [row.state for row in join(None, [account({"a": injection})])] == [state]


def test_allocations_come_in_the_order_of_the_checkpoint_and_unknown_ones_behind_them() -> None:
    second = Carried("uid-2", "main", KIND, ("device_2",), guarded=True, allocation="b")
    rows = join([ALLOCATED, second], [account({"c": FINE, "b": FINE, "a": FINE})])
    assert [row.allocation for row in rows] == ["a", "b", "c"]


def test_an_allocation_in_the_format_of_another_release_is_shown_and_joined_with_nothing() -> None:
    newer = Carried("uid", "main", KIND, ("device_0",), guarded=False, allocation="")
    assert [(row.allocation, row.state) for row in join([newer], [account({})])] == [("", State.WAITING)]
