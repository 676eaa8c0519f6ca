from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nri_cdi.host.numa import Place
from nri_cdi.kubelet.preferred import Preference, preferred

# two NUMA nodes; a to d on 0, below two PCI roots; e to h on 1, below one
PLACES = {
    "a": Place(0, "pci0000:00"),
    "b": Place(0, "pci0000:00"),
    "c": Place(0, "pci0000:17"),
    "d": Place(0, "pci0000:17"),
    "e": Place(1, "pci0000:80"),
    "f": Place(1, "pci0000:80"),
    "g": Place(1, "pci0000:80"),
    "h": Place(1, "pci0000:80"),
}


@pytest.mark.parametrize(
    ("available", "must", "size", "answer"),
    [
        (["device_10", "device_2", "device_1"], [], 2, ("device_1", "device_2")),
        (["b", "a", "c"], ["c"], 2, ("c", "a")),
        (["a"], [], 3, ("a",)),
        (["a", "b"], ["b", "z"], 1, ("b", "z")),
        (["a", "a", "b"], [], 2, ("a", "b")),
        (["a", "b"], [], 0, ()),
        (["a", "b"], [], -5, ()),
        ([], [], 4, ()),
    ],
)
@pytest.mark.parametrize("preference", Preference)
def test_what_must_be_included_comes_first_and_without_places_the_rest_is_in_natural_order(
    available: list[str], must: list[str], size: int, answer: tuple[str, ...], preference: Preference
) -> None:
    assert preferred(available, must, size, {}, preference) == answer


@pytest.mark.parametrize(
    ("available", "must", "size", "packed", "spread"),
    [
        pytest.param("abcdefgh", "", 1, "a", "a", id="one"),
        pytest.param("abcdefgh", "", 2, "ab", "ae", id="two"),
        pytest.param("abcdefgh", "", 3, "abc", "ace", id="three"),
        pytest.param("abcdefgh", "", 4, "abcd", "acef", id="four"),
        pytest.param("abcdefgh", "", 5, "abcde", "abcef", id="five"),
        pytest.param("bcdefgh", "", 3, "cdb", "bce", id="the smaller node that suffices"),
        pytest.param("bcd" + "efgh", "", 4, "efgh", "bcef", id="the only node that suffices"),
        pytest.param("bcd", "", 2, "cd", "bc", id="one root rather than two"),
        pytest.param("abcdefg", "h", 3, "hef", "hac", id="beside what must be included"),
        pytest.param("abd", "ce", 4, "ceda", "ceab", id="beside it, then beside its neighbours"),
    ],
)
def test_devices_are_packed_by_numa_node_and_pci_root_or_spread_over_them(
    available: str, must: str, size: int, packed: str, spread: str
) -> None:
    assert "".join(preferred(available, must, size, PLACES, Preference.PACKED)) == packed
    assert "".join(preferred(available, must, size, PLACES, Preference.SPREAD)) == spread


_places = st.dictionaries(
    st.text(max_size=2),
    st.builds(Place, st.none() | st.integers(0, 2), st.sampled_from(["", "pci0000:00", "pci0000:17"])),
)


@given(
    st.lists(st.text(max_size=2)),
    st.lists(st.text(max_size=2)),
    st.integers(-5, 30),
    _places,
    st.sampled_from(Preference),
)
def test_it_never_fails_and_answers_as_many_as_were_asked_for_if_there_are_so_many(
    available: list[str], must: list[str], size: int, places: dict[str, Place], preference: Preference
) -> None:
    answer = preferred(available, must, size, places, preference)
    assert len(set(answer)) == len(answer)
    assert set(must) <= set(answer) <= set(available) | set(must)
    assert len(answer) == max(len(set(must)), min(max(size, 0), len(set(available) | set(must))))


@given(st.sets(st.sampled_from("abcdefgh"), min_size=1), st.integers(1, 8))
def test_packed_takes_no_more_numa_nodes_than_needed_and_spread_no_fewer_than_possible(
    free: set[str], size: int
) -> None:
    def nodes(devices: tuple[str, ...] | set[str]) -> list[int | None]:
        return [PLACES[device].numa for device in devices]

    one_suffices = max(map(nodes(free).count, (0, 1))) >= size
    assert (len(set(nodes(preferred(free, (), size, PLACES, Preference.PACKED)))) == 1) or not one_suffices
    spread = nodes(preferred(free, (), size, PLACES, Preference.SPREAD))
    assert len(set(spread)) == min(len(set(nodes(free))), size, len(free))
