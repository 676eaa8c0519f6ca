"""Which names are one host device, and which of them is advertised."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nri_cdi.cdi import ContainerEdits, DeviceNode, HostNode, NetDevice
from nri_cdi.kubelet.candidates import Candidate, candidates
from nri_cdi.kubelet.identity import Claims, Rules, select
from nri_cdi.testing.snapshots import snapshot, spec_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

GPU, FULL = "nvidia.com/gpu", "other.com/full"
NVIDIA = {
    "0": ["/dev/nvidia0"],
    "1": ["/dev/nvidia1"],
    "GPU-4c1f": ["/dev/nvidia0"],
    "GPU-9be2": ["/dev/nvidia1"],
    "all": ["/dev/nvidia0", "/dev/nvidia1"],
}


def found(devices: Mapping[str, Iterable[str]], kind: str = GPU) -> Mapping[str, Candidate]:
    return candidates(snapshot(spec_file(kind, devices, common=["/dev/nvidiactl"])), [kind]).candidates


def by_name(*several: Candidate) -> dict[str, Candidate]:
    return {one.name: one for one in several}


def chosen(devices: Mapping[str, Iterable[str]], rules: Rules | None = None, before: Collection[str] = ()) -> list[str]:
    selection = select(
        found(devices), {}, rules or Rules(), [GPU], Claims(frozenset(f"{GPU}={name}" for name in before))
    )
    return sorted(name.partition("=")[2] for name in selection.names)


@pytest.mark.parametrize(
    ("devices", "rules", "before", "names"),
    [
        pytest.param(NVIDIA, Rules(), (), ["0", "1"], id="index, uuid and all"),
        pytest.param(NVIDIA, Rules(prefer=("*=GPU-*",)), (), ["GPU-4c1f", "GPU-9be2"], id="uuids preferred"),
        pytest.param(NVIDIA, Rules(prefer=("*=all",)), (), ["all"], id="the whole node preferred"),
        pytest.param(NVIDIA, Rules(exclude=("*=0", "*=1")), (), ["GPU-4c1f", "GPU-9be2"], id="indexes excluded"),
        pytest.param(NVIDIA, Rules(include=(f"{GPU}=all",)), (), ["all"], id="only all included"),
        pytest.param(NVIDIA, Rules(), ("GPU-4c1f",), ["1", "GPU-4c1f"], id="what was advertised before stays"),
        pytest.param(NVIDIA, Rules(prefer=("*=0",)), ("GPU-4c1f",), ["0", "1"], id="a preference goes before it"),
        pytest.param({"all": ["/dev/a0"], "0": ["/dev/a0"]}, Rules(), (), ["0"], id="all of one device"),
        pytest.param(
            {"p01": ["/dev/a0", "/dev/a1"], "p12": ["/dev/a1", "/dev/a2"]}, Rules(), (), ["p01"], id="overlap"
        ),
        pytest.param(
            {"a": ["/dev/kfd", "/dev/r1"], "b": ["/dev/kfd", "/dev/r2"]}, Rules(), (), ["a"], id="shared, not said"
        ),
        pytest.param(
            {"a": ["/dev/kfd", "/dev/r1"], "b": ["/dev/kfd", "/dev/r2"]},
            Rules(shared=("/dev/kfd",)),
            (),
            ["a", "b"],
            id="a control node is shared",
        ),
        pytest.param({"a": [], "b": []}, Rules(), (), ["a", "b"], id="devices without nodes"),
    ],
)
def test_which_names_are_advertised(
    devices: Mapping[str, Iterable[str]], rules: Rules, before: Collection[str], names: list[str]
) -> None:
    assert chosen(devices, rules, before) == names


def test_what_is_left_out_is_said_with_the_name_that_has_its_device() -> None:
    selection = select(found(NVIDIA), {}, Rules(exclude=("*=1",)), [GPU])
    assert {name.partition("=")[2]: why.reason for name, why in selection.left_out.items()} == {
        "1": "the configuration excludes it",
        "GPU-4c1f": "it is the same host device as nvidia.com/gpu=0 (/dev/nvidia0)",
        "all": "its host devices are advertised as nvidia.com/gpu=0, nvidia.com/gpu=GPU-9be2",
    }


def test_a_host_device_is_recognised_by_its_numbers_under_another_path_also_when_only_the_host_knows_them() -> None:
    one = Candidate(f"{GPU}=a", GPU, "a", "f", (DeviceNode("/dev/x0"),))
    two = Candidate(f"{GPU}=b", GPU, "b", "f", (DeviceNode("/dev/by-id/x", type="c", major=9, minor=1),))
    assert len(select(by_name(one, two), {}, Rules(), [GPU]).names) == 2
    assert select(by_name(one, two), {"/dev/x0": HostNode("c", 9, 1, 0o600)}, Rules(), [GPU]).names == {one.name}


def test_memory_devices_are_nobodys() -> None:
    nodes = (DeviceNode("/dev/null"),)
    pair = by_name(*(Candidate(f"{GPU}={name}", GPU, name, "f", nodes) for name in "ab"))
    assert len(select(pair, {"/dev/null": HostNode("c", 1, 3, 0o666)}, Rules(), [GPU]).names) == 2


def test_one_network_interface_is_one_device() -> None:
    edits = ContainerEdits(net_devices=(NetDevice("eth1", "net0"),))
    pair = candidates(snapshot(spec_file(GPU, {"a": edits, "b": edits})), [GPU])
    assert select(pair.candidates, {}, Rules(), [GPU]).names == {f"{GPU}=a"}


def test_two_resources_do_not_share_a_host_device_and_the_one_configured_first_has_it() -> None:
    both = {**found({"0": ["/dev/a0"]}), **found({"x": ["/dev/a0"]}, FULL)}
    for kinds in ([GPU, FULL], [FULL, GPU]):
        selection = select(both, {}, Rules(), kinds)
        assert {name.partition("=")[0] for name in selection.names} == {kinds[0]}
        (omission,) = selection.left_out.values()
        assert omission.across


@pytest.mark.parametrize(
    ("path", "transient"),
    [
        ("/var/run/cdi/nvidia.com-gpu_claim-1.json", True),
        ("/var/run/cdi/nvidia.com-gpu.json", False),
        ("/etc/cdi/nvidia.yaml", False),
        ("/var/run/cdi/other.com-gpu_1.json", False),
    ],
)
def test_a_transient_spec_is_known_by_its_file_name_and_is_no_inventory_unless_it_is_included(
    path: str,
    transient: bool,  # noqa: FBT001  # a table's column
) -> None:
    claim = candidates(snapshot(spec_file(GPU, ["c"], path)), [GPU]).candidates
    assert (select(claim, {}, Rules(), [GPU]).names == frozenset()) == transient
    assert select(claim, {}, Rules(include=("nvidia.com/gpu=*",)), [GPU]).names == {f"{GPU}=c"}


_paths = st.sampled_from(["/dev/a0", "/dev/a1", "/dev/a2", "/dev/a3"])
_devices = st.dictionaries(st.sampled_from([*"0123456789", "all"]), st.sets(_paths, max_size=3), max_size=6)


@given(_devices, st.sets(st.sampled_from("0123")), st.lists(st.sampled_from(["*=1", "*=all"]), max_size=2))
def test_no_host_device_has_two_names_and_nothing_is_left_out_without_a_name_in_its_way(
    devices: dict[str, set[str]], before: set[str], prefer: list[str]
) -> None:
    names = chosen(devices, Rules(prefer=tuple(prefer)), before)
    taken = [path for name in names for path in devices[name]]
    assert len(taken) == len(set(taken))
    for name in devices.keys() - set(names):
        assert devices[name] & set(taken)
