from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nri_cdi.allocation import (
    GUARD_ROOT,
    guard_destinations,
    guarded_key_name,
    guards_another_version,
    is_of_another_version,
    key_name,
    mark_key,
    own_key_name,
)
from nri_cdi.inject.gate import check_start
from nri_cdi.inject.keys import keys
from nri_cdi.inject.refusals import Reason, Refusal
from nri_cdi.inject.request import shown
from nri_cdi.nri import Event, api
from nri_cdi.testing.containers import injector

PREFIX = "cdi.k8s.io/"
ONE, TWO = key_name(b"1" * 16), key_name(b"2" * 16)


def container(annotations: dict[str, str], *destinations: str) -> api.Container:
    mounts = [api.Mount(destination=destination, source="/dev/null") for destination in destinations]
    return api.Container(annotations=annotations, mounts=mounts)


def test_own_and_foreign_keys_are_told_apart_and_others_left_alone() -> None:
    found = keys(
        shown(
            api.PodSandbox(),
            container(
                {
                    f"{PREFIX}{TWO}": "v.com/d=2,v.com/d=1",
                    f"{PREFIX}{ONE}": "v.com/d=1",
                    f"{PREFIX}vendor_gpu": "v.com/d=3,v.com/d=1",
                    PREFIX: "v.com/d=4",
                    "other.example.com/x": "no names",
                }
            ),
        ),
        PREFIX,
    )
    assert found.own == {ONE: ("v.com/d=1",), TWO: ("v.com/d=2", "v.com/d=1")}
    assert found.foreign == {PREFIX: ("v.com/d=4",), f"{PREFIX}vendor_gpu": ("v.com/d=3", "v.com/d=1")}
    assert found.names == ("v.com/d=1", "v.com/d=2", "v.com/d=4", "v.com/d=3")


@pytest.mark.parametrize(
    "name", ["nri-cdi.v1_x", f"{ONE}0", ONE[:-1], ONE.upper(), "nri-cdi_v1", "nri-cdi.v_1", "x" + ONE]
)
def test_what_only_looks_like_a_key_of_ours_is_foreign(name: str) -> None:
    found = keys(shown(api.PodSandbox(), container({PREFIX + name: "v.com/d=1"})), PREFIX)
    assert (found.own, list(found.foreign)) == ({}, [PREFIX + name])


def test_a_foreign_key_that_stands_on_the_pod_too_is_not_believed() -> None:
    pod = api.PodSandbox(annotations={f"{PREFIX}x": "v.com/d=1"})
    assert keys(shown(pod, container({f"{PREFIX}x": "v.com/d=1"})), PREFIX).names == ()


def test_the_guards_of_all_allocations_are_lifted_with_one_parent() -> None:
    annotations = {f"{PREFIX}{ONE}": "v.com/d=1", f"{PREFIX}{TWO}": "v.com/d=2"}
    destinations = [*guard_destinations(ONE), *guard_destinations(TWO)]
    assert keys(shown(api.PodSandbox(), container(annotations, *destinations)), PREFIX).guards == (
        GUARD_ROOT,
        destinations[1],
        destinations[3],
    )


def test_a_guard_is_known_by_its_key_whatever_its_sentence_says() -> None:
    destination = f"{GUARD_ROOT}/{ONE} a sentence - that nobody has written yet"
    found = keys(shown(api.PodSandbox(), container({f"{PREFIX}{ONE}": "v.com/d=1"}, GUARD_ROOT, destination)), PREFIX)
    assert found.guards == (GUARD_ROOT, destination)


def test_a_mount_of_the_pods_own_below_the_guards_parent_is_no_guard() -> None:
    assert keys(shown(api.PodSandbox(), container({}, GUARD_ROOT, f"{GUARD_ROOT}/data")), PREFIX).guards == ()


@given(st.binary(min_size=16, max_size=16))
def test_a_key_its_guard_and_its_mark_find_each_other(random: bytes) -> None:
    name = key_name(random)
    assert own_key_name(PREFIX + name, PREFIX) == name
    parent, child = guard_destinations(name)
    assert (guarded_key_name(parent), guarded_key_name(child)) == (None, name)
    assert mark_key(name).endswith(random.hex())
    assert not is_of_another_version(PREFIX + name, PREFIX)
    assert not guards_another_version(child)


@pytest.mark.parametrize("size", [0, 15, 17])
def test_an_allocation_id_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        key_name(bytes(size))


@pytest.mark.parametrize("key", ["cdi.k8s.io/other_gpu", "cdi.k8s.io/nri-cdi.v2_x"])
def test_the_start_gate_does_not_look_at_keys_that_are_not_of_this_format(key: str) -> None:
    injector(None).state_change(Event.START_CONTAINER, api.PodSandbox(), container({key: "v.com/d=1"}))


def test_a_key_under_another_prefix_is_nobodys_at_start() -> None:
    injector(None).state_change(Event.START_CONTAINER, api.PodSandbox(), container({f"other.io/{ONE}": "v.com/d=1"}))


def test_a_mark_is_no_cdi_key_also_where_its_domain_is_the_prefix() -> None:
    found = keys(
        shown(api.PodSandbox(), container({f"nri-cdi.dev/{ONE}": "v.com/d=1", mark_key(ONE): "AAAA BBBB"})),
        "nri-cdi.dev/",
    )
    assert (dict(found.own), dict(found.foreign)) == ({ONE: ("v.com/d=1",)}, {})


@pytest.mark.parametrize("written", [f"{PREFIX}{ONE}", mark_key(ONE)])
def test_neither_an_allocation_key_nor_its_mark_may_stand_on_the_pod(written: str) -> None:
    seen = shown(
        api.PodSandbox(annotations={written: "-"}), container({f"{PREFIX}{ONE}": "v.com/d=1", mark_key(ONE): "-"})
    )
    with pytest.raises(Refusal, match="stands on the pod") as at_creation:
        keys(seen, PREFIX)
    with pytest.raises(Refusal, match="stands on the pod") as at_start:
        check_start(seen, PREFIX)
    assert at_creation.value.reason is at_start.value.reason is Reason.SMUGGLED_KEY
