from __future__ import annotations

import itertools
import json
import pathlib
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nri_cdi
from nri_cdi.allocation import guarded_key_name, own_key_name
from nri_cdi.cdi import InvalidName
from nri_cdi.kubelet.allocate import Allocation, Mount, allocate, allocate_names, to_plain, to_response

GPU = "device.example.com/gpu"
PREFIX = "cdi.k8s.io/"
ID = bytes(range(16))
KEY = "nri-cdi.v1_000102030405060708090a0b0c0d0e0f"


def test_one_key_carries_the_qualified_names_in_natural_order() -> None:
    allocation = allocate(["device_10", "device_2", "device_2"], GPU, prefix=PREFIX, random_id=ID, guard=False)
    assert allocation == Allocation({PREFIX + KEY: f"{GPU}=device_2,{GPU}=device_10"}, ())


def test_a_guarded_allocation_has_the_parent_and_the_child_that_names_the_key_and_says_why() -> None:
    parent, child = allocate(["0"], GPU, prefix=PREFIX, random_id=ID, guard=True).mounts
    assert parent == Mount("/.nri-cdi", "/dev/null", read_only=True)
    assert (child.host_path, child.read_only) == ("/dev/null", True)
    assert guarded_key_name(child.container_path) == KEY
    assert "is the NRI plugin nri-cdi running on this node?" in child.container_path


def test_no_devices_are_no_allocation() -> None:
    assert allocate([], GPU, prefix=PREFIX, random_id=ID, guard=True) == Allocation({}, ())


@given(st.lists(st.text()), st.binary(min_size=16, max_size=16), st.booleans(), st.sampled_from([PREFIX, "x/", ""]))
def test_any_ids_are_promised_by_name_in_an_order_that_does_not_depend_on_theirs(
    ids: list[str],
    random_id: bytes,
    guard: bool,  # noqa: FBT001  # a property's argument
    prefix: str,
) -> None:
    allocation = allocate(ids, GPU, prefix=prefix, random_id=random_id, guard=guard)
    assert allocation == allocate(reversed(ids), GPU, prefix=prefix, random_id=random_id, guard=guard)
    assert bool(allocation.annotations) == bool(ids)
    for key, value in allocation.annotations.items():
        name = own_key_name(key, prefix)
        assert name is not None
        assert len(name) <= 63
        assert sorted(value.split(",")) == sorted(",".join(f"{GPU}={device}" for device in set(ids)).split(","))
        assert [guarded_key_name(mount.container_path) for mount in allocation.mounts] == (
            [None, name] if guard else []
        )


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1), st.booleans())
def test_the_message_and_the_plain_form_say_the_same(
    ids: list[str],
    guard: bool,  # noqa: FBT001  # a property's argument
) -> None:
    allocation = allocate(ids, GPU, prefix=PREFIX, random_id=ID, guard=guard)
    response = to_response(allocation)
    plain = json.loads(json.dumps(to_plain(allocation)))
    assert plain == {
        "annotations": dict(response.annotations),
        "mounts": [
            {"container_path": m.container_path, "host_path": m.host_path, "read_only": m.read_only}
            for m in response.mounts
        ],
        "envs": dict(response.envs),
        "devices": list(response.devices),
    }
    assert not response.cdi_devices


def test_names_are_grouped_by_resource_and_each_resource_has_a_key_of_its_own() -> None:
    ids = (bytes([i]) * 16 for i in itertools.count())
    allocations = allocate_names(
        ["vendor.com/nic=nic0", f"{GPU}=b", "vendor.com/nic=nic1", f"{GPU}=a"],
        prefix=PREFIX,
        random_id=lambda: next(ids),
        guard=True,
    )
    assert {kind: dict(a.annotations) for kind, a in allocations.items()} == {
        "vendor.com/nic": {f"{PREFIX}nri-cdi.v1_{'00' * 16}": "vendor.com/nic=nic0,vendor.com/nic=nic1"},
        GPU: {f"{PREFIX}nri-cdi.v1_{'01' * 16}": f"{GPU}=a,{GPU}=b"},
    }
    assert list(allocations) == ["vendor.com/nic", GPU]
    assert [len(a.mounts) for a in allocations.values()] == [2, 2]


def test_a_name_that_is_not_qualified_is_an_error() -> None:
    with pytest.raises(InvalidName):
        allocate_names(["device_0"], prefix=PREFIX, random_id=lambda: ID, guard=True)


def test_the_answer_can_be_computed_where_grpc_and_yaml_are_not_installed() -> None:
    code = "import sys; import nri_cdi.kubelet.allocate, nri_cdi.kubelet.inventory; sys.exit('grpc' in sys.modules or 'yaml' in sys.modules)"
    root = pathlib.Path(nri_cdi.__file__).parent.parent
    child = subprocess.run([sys.executable, "-c", code], cwd=root, check=False)  # noqa: S603  # our own words
    assert child.returncode == 0
