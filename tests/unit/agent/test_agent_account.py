"""The account of an NRI half as it goes over its socket."""

from __future__ import annotations

import json

import pytest

from nri_cdi.account import SIZE_MAX, Account, Injection, decode, encode


def injection(number: int, devices: str = "v.com/d=0") -> Injection:
    return Injection("team", f"pod-{number} \u2013", "main", "c1", devices, "it lacks 1" if number % 2 else "")


def account(injections: dict[str, Injection], left_out: int = 0) -> Account:
    return Account("0.1.0", synchronized=True, standing="as 10-nri-cdi", injections=injections, left_out=left_out)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_an_account_arrives_as_it_was_sent_in_its_order(count: int) -> None:
    sent = account({f"{n}": injection(n) for n in reversed(range(count))}, left_out=2)
    assert decode(encode(sent)) == sent
    assert list(decode(encode(sent)).injections) == list(sent.injections)


def test_where_there_is_no_room_the_oldest_are_left_out_and_counted() -> None:
    sent = account({f"{n}": injection(n, "v" * 1000) for n in range(4000)}, left_out=1)
    data = encode(sent)
    got = decode(data)
    kept = len(got.injections)
    assert SIZE_MAX - 2000 < len(data) < SIZE_MAX + 500
    assert list(got.injections) == [f"{n}" for n in range(4000 - kept, 4000)]
    assert got.left_out == 4001 - kept


def test_what_a_newer_release_says_beyond_ours_is_passed_over() -> None:
    plain = json.loads(encode(account({"0": injection(0)})))
    plain["account"]["more"] = plain["injections"][0][1]["more"] = plain["more"] = 1
    assert decode(json.dumps(plain).encode()) == account({"0": injection(0)})
