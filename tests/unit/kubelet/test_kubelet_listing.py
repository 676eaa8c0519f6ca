"""The list that the kubelet is sent is made from the list before, and is what it would be if it were made anew."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nri_cdi.host.numa import Place
from nri_cdi.kubelet import api
from nri_cdi.kubelet.listing import Listing
from nri_cdi.kubelet.told import Device, Resource

DEVICES = st.builds(
    Device,
    id=st.sampled_from(["a", "b", "c", "é"]),
    qualified_name=st.just("v.com/x=a"),
    healthy=st.booleans(),
    reason=st.sampled_from(["", "gone"]),
    place=st.builds(Place, numa=st.sampled_from([None, 0, 1])),
)
LISTS = st.lists(DEVICES, max_size=4, unique_by=lambda device: device.id)


def resource(devices: list[Device]) -> Resource:
    return Resource("v.com/x", "v.com/x", tuple(devices))


@given(st.lists(LISTS, min_size=1, max_size=5))
def test_whatever_changes_from_list_to_list_each_says_what_is(lists: list[list[Device]]) -> None:
    pool: dict[Device, Device] = {}
    listing = None
    for devices in lists:
        listing = Listing.of(resource([pool.setdefault(one, one) for one in devices]), listing)
        message = api.ListAndWatchResponse.FromString(listing.message)
        assert [(one.ID, one.health, [node.ID for node in one.topology.nodes]) for one in message.devices] == [
            (one.id, "Healthy" if one.healthy else "Unhealthy", [] if one.place.numa is None else [one.place.numa])
            for one in devices
        ]
        assert listing.places == {one.id: one.place for one in devices}
        ids = [one.id for one in devices]
        assert sorted([*reversed(ids), "zz", "zy"], key=listing.order) == [*ids, "zy", "zz"]


def test_a_device_of_unknown_place_has_no_topology_and_one_of_node_0_has() -> None:
    unknown, zero = Device("a", "v.com/x=a"), Device("b", "v.com/x=b", place=Place(numa=0))
    message = api.ListAndWatchResponse.FromString(Listing.of(resource([unknown, zero])).message)
    assert [one.HasField("topology") for one in message.devices] == [False, True]


def test_what_did_not_change_is_not_encoded_again() -> None:
    first, second = Device("a", "v.com/x=a"), Device("b", "v.com/x=b")
    before = Listing.of(resource([first, second]))
    after = Listing.of(resource([first, Device("b", "v.com/x=b", healthy=False)]), before)
    assert after.parts[0] is before.parts[0]
    assert after.places is before.places
