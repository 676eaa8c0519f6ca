from __future__ import annotations

import json
import string
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nri_cdi.cdi import Snapshot, scan_directories
from nri_cdi.kubelet.inventory import (
    Change,
    Device,
    Resource,
    changes,
    inventory,
    resource_name_problem,
)

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Mapping, Sequence

GPU, NIC = "device.example.com/gpu", "vendor.com/nic"


@dataclass(frozen=True)
class Specs:
    """The names of a snapshot."""

    names: tuple[str, ...] = ()
    conflicts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    errors: Mapping[str, object] = field(default_factory=dict)

    @property
    def devices(self) -> Mapping[str, object]:
        return dict.fromkeys(self.names)


def healthy(kind: str, *ids: str) -> Resource:
    return Resource(kind, kind, tuple(Device(device, f"{kind}={device}") for device in ids))


def test_only_configured_kinds_are_advertised_each_with_its_devices_in_natural_order() -> None:
    specs = Specs((f"{GPU}=device_10", f"{GPU}=device_2", f"{NIC}=nic0", "other.com/fpga=0"))
    assert inventory(specs, [NIC, GPU]) == (healthy(NIC, "nic0"), healthy(GPU, "device_2", "device_10"))


def test_a_kind_without_devices_is_a_resource_without_devices() -> None:
    assert inventory(Specs(), [GPU]) == (Resource(GPU, GPU, ()),)


def test_a_kind_that_begins_like_a_configured_one_is_not_advertised() -> None:
    assert inventory(Specs((f"{GPU}s=0", f"{GPU}=0")), [GPU]) == (healthy(GPU, "0"),)


def test_a_device_in_conflict_is_unhealthy_and_its_reason_names_the_files() -> None:
    specs = Specs((f"{GPU}=0",), conflicts={f"{GPU}=1": ("/etc/cdi/a.yaml", "/etc/cdi/b.yaml"), f"{NIC}=0": ("a", "b")})
    (resource,) = inventory(specs, [GPU])
    assert [(device.id, device.healthy) for device in resource.devices] == [("0", True), ("1", False)]
    assert resource.devices[1].reason == (
        "defined more than once in one directory, by /etc/cdi/a.yaml and /etc/cdi/b.yaml: keep one of them"
    )


def test_a_device_that_vanished_stays_unhealthy_and_names_the_files_that_are_not_valid() -> None:
    before = inventory(Specs((f"{GPU}=0", f"{GPU}=1")), [GPU])
    (resource,) = inventory(Specs((f"{GPU}=0",), errors={"/etc/cdi/b.yaml": ()}), [GPU], before)
    assert resource.devices[0] == Device("0", f"{GPU}=0")
    assert resource.devices[1] == Device(
        "1",
        f"{GPU}=1",
        healthy=False,
        reason="no valid CDI spec of this node defines it any more; not valid: /etc/cdi/b.yaml",
    )


def test_a_device_that_vanished_is_remembered_over_further_snapshots_until_it_comes_back() -> None:
    full = Specs((f"{GPU}=0", f"{GPU}=1"))
    now = inventory(full, [GPU])
    for _ in range(3):
        now = inventory(Specs(), [GPU], now)
    assert [device.healthy for device in now[0].devices] == [False, False]
    assert inventory(full, [GPU], now) == inventory(full, [GPU])


def test_devices_of_a_kind_that_is_not_configured_any_more_are_forgotten() -> None:
    assert inventory(Specs(), [NIC], (healthy(GPU, "0"),)) == (Resource(NIC, NIC),)


_names = st.builds("{}={}".format, st.sampled_from([GPU, NIC, "other.com/x"]), st.sampled_from("0123"))
_specs = st.builds(
    Specs,
    st.lists(_names, unique=True).map(tuple),
    st.dictionaries(_names, st.just(("a", "b"))),
    st.dictionaries(st.text(max_size=3), st.just(())),
)


@given(st.lists(_specs, min_size=1, max_size=5))
def test_no_device_that_was_ever_advertised_is_lost_and_healthy_means_resolvable_without_conflict(
    steps: list[Specs],
) -> None:
    now: tuple[Resource, ...] = ()
    seen: set[str] = set()
    for specs in steps:
        now = inventory(specs, [GPU, NIC], now)
        devices = [device for resource in now for device in resource.devices]
        names = {device.qualified_name for device in devices}
        assert seen <= names
        assert len(devices) == len(names)
        for device in devices:
            assert device.healthy == (
                device.qualified_name in specs.devices and device.qualified_name not in specs.conflicts
            )
            assert device.healthy == (not device.reason)
        seen |= names


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("gpu", "must be a CDI kind"),
        ("", "must be a CDI kind"),
        ("/gpu", "must be a CDI kind"),
        ("vendor.com/", "must be a CDI kind"),
        ("vendor.com/a/b", "must be a CDI kind"),
        ("kubernetes.io/x", "Kubernetes' own"),
        ("sub.kubernetes.io/x", "Kubernetes' own"),
        ("requests.example.com/x", "quota"),
        ("Vendor.com/gpu", "DNS name"),
        ("ven_dor.com/gpu", "DNS name"),
        ("vendor..com/gpu", "DNS name"),
        ("vendor-/gpu", "DNS name"),
        ("v" * 245 + "/gpu", "DNS name"),
        ("vendor.com/" + "g" * 64, "at most 63 bytes"),
        ("vendor.com/g pu", "class"),
        ("vendor.com/gpu\n", "class"),
        ("vendor.com/gpu-", "class"),
        ("vendor.com/gpué", "class"),
    ],
)
def test_a_kind_that_kubernetes_refuses_is_named_with_what_to_do(kind: str, words: str) -> None:
    problem = resource_name_problem(kind)
    assert problem is not None
    assert problem.startswith(repr(kind))
    assert words in problem


@pytest.mark.parametrize(
    "kind",
    [GPU, "v/x", "nvidia.com/gpu", "vendor.com/G_p.U-1", "v" * 244 + "/" + "g" * 63, "requests/x", "0.1/2"],
)
def test_a_kind_that_kubernetes_takes_has_no_problem(kind: str) -> None:
    assert resource_name_problem(kind) is None


@given(st.text(string.printable) | st.from_regex(r"[a-zA-Z0-9._-]{1,5}/[a-zA-Z0-9._-]{1,5}", fullmatch=True))
def test_any_text_has_a_problem_or_has_the_form_vendor_class(kind: str) -> None:
    if resource_name_problem(kind) is None:
        vendor, _, cls = kind.partition("/")
        assert vendor
        assert vendor == vendor.lower()
        assert cls
        assert set(kind) <= set(string.ascii_letters + string.digits + "-._/")


def test_what_changed_is_said_once_and_unhealthy_devices_are_gathered_by_reason() -> None:
    names = tuple(f"{GPU}=device_{i}" for i in range(7))
    first = inventory(Specs(names), [GPU])
    second = inventory(Specs(), [GPU], first)
    assert changes((), first) == (Change(f"{GPU}: 7 devices, 7 healthy"),)
    assert changes(first, first) == ()
    assert changes(first, second) == (
        Change(f"{GPU}: 7 devices, 0 healthy"),
        Change(
            f"{GPU}: unhealthy: device_0, device_1, device_2, device_3, device_4 and 2 more: "
            "no valid CDI spec of this node defines it any more",
            alarming=True,
        ),
    )
    assert changes(second, first) == (Change(f"{GPU}: 7 devices, 7 healthy"),)


def test_real_spec_files_become_devices_conflicts_and_reasons(tmp_path: pathlib.Path) -> None:
    def spec(*names: str) -> str:
        devices = [{"name": name, "containerEdits": {"env": [f"X={name}"]}} for name in names]
        return json.dumps({"cdiVersion": "0.6.0", "kind": GPU, "devices": devices})

    first, second = tmp_path / "a.json", tmp_path / "b.json"
    first.write_text(spec("device_1", "device_10"))
    second.write_text(spec("device_2", "device_10"))
    now = inventory(Snapshot.build(scan_directories([str(tmp_path)])), [GPU])
    assert [(device.id, device.healthy) for device in now[0].devices] == [
        ("device_1", True),
        ("device_2", True),
        ("device_10", False),
    ]
    assert f"{first} and {second}" in now[0].devices[2].reason or f"{second} and {first}" in now[0].devices[2].reason
    second.write_text("{")
    now = inventory(Snapshot.build(scan_directories([str(tmp_path)])), [GPU], now)
    assert [(device.id, device.healthy) for device in now[0].devices] == [
        ("device_1", True),
        ("device_2", False),
        ("device_10", True),
    ]
    assert now[0].devices[1].reason.endswith(f"not valid: {second}")
