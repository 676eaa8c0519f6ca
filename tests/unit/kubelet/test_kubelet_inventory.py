"""From snapshots and looks at the host to what the kubelet is told."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from nri_cdi.cdi import EMPTY, ContainerEdits, DeviceNode, HostNode, Snapshot, scan_directories
from nri_cdi.host.numa import Place
from nri_cdi.kubelet.candidates import Candidate
from nri_cdi.kubelet.catalog import Catalog
from nri_cdi.kubelet.changes import Change, changes, omissions
from nri_cdi.kubelet.condition import Look
from nri_cdi.kubelet.identity import Rules
from nri_cdi.kubelet.inventory import (
    FORGET,
    UNSEEN,
    Inventory,
    Patience,
    Recalled,
    World,
    advance,
    due,
    remember,
)
from nri_cdi.kubelet.told import Device, Resource, Told, tell
from nri_cdi.testing.snapshots import snapshot, spec_file

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterable, Mapping

    from nri_cdi.cdi import SpecFile

GPU, NIC = "device.example.com/gpu", "vendor.com/nic"
FILE = "/etc/cdi/device.example.com-gpu.yaml"
PATIENCE = Patience(60.0, 10.0)


class Over:
    """An inventory of these kinds over time, and what the kubelet is told."""

    def __init__(self, *kinds: str, before: Inventory | None = None, rules: Rules | None = None) -> None:
        self.kinds = {kind: kind for kind in kinds or (GPU,)}
        self.inventory, self.rules = before or Inventory(), rules or Rules()
        self.catalog: Catalog | None = None
        self.world = World({}, {})
        self.told: Told | None = None
        self.paths: dict[str, int] = {}
        self.swapped: set[str] = set()

    def at(
        self,
        now: float,
        specs: Snapshot,
        *,
        missing: Iterable[str] = (),
        places: Mapping[str, Place] | None = None,
        away: str = "",
        in_use: Iterable[str] = (),
        renewed: Iterable[str] = (),
        elsewhere: Mapping[str, str] = MappingProxyType({}),
    ) -> tuple[Resource, ...]:
        """What is told at that time, on a host that has all nodes but the missing ones, while containers have the devices `in_use`; others than before if `renewed`."""
        if self.catalog is None or specs is not self.catalog.source.snapshot:
            self.catalog = Catalog.of(specs, self.kinds, self.catalog)
        catalog, before = self.catalog, self.world
        nodes = {path: self.number(path) for path in catalog.paths}
        looks = {path: Look(problem="is not there") if path in missing else Look(node) for path, node in nodes.items()}
        changed = frozenset(path for path in looks if looks[path] != before.looks.get(path))
        renumbered = {path: before.nodes.get(path) for path in nodes if nodes[path] != before.nodes.get(path)}
        seen = {**before.nodes, **nodes}
        self.world = World(
            looks,
            seen,
            places or {},
            changed,
            renumbered,
            away,
            frozenset(in_use),
            frozenset(renewed) & set(in_use),
            elsewhere,
        )
        rules, kinds = self.rules, tuple(self.kinds)
        forgetful = Inventory(self.inventory.known, had=self.inventory.had)
        whole = advance(forgetful, Catalog.of(specs, kinds), self.world, rules, kinds, PATIENCE, now)
        self.inventory = advance(self.inventory, catalog, self.world, rules, kinds, PATIENCE, now)
        self.told = tell(self.inventory, self.world, self.kinds, self.told)
        assert self.told.resources == tell(whole, self.world, self.kinds).resources, "the short way is the long one"
        assert self.inventory.left_out == whole.left_out
        assert {path: sorted(names) for path, names in catalog.paths.items()} == {
            path: sorted(names) for path, names in Catalog.of(specs, kinds).paths.items()
        }
        return self.told.resources

    def number(self, path: str) -> HostNode:
        """The node that is at this path: the same numbers for all time, unless it is one of `swapped`."""
        minor = self.paths.setdefault(path, len(self.paths)) + (1000 if path in self.swapped else 0)
        return HostNode("c", 89, minor, 0o666)


def gpus(*names: str, path: str = FILE) -> SpecFile:
    return spec_file(GPU, {name: [f"/dev/mock/{name}"] for name in names}, path)


def healthy(kind: str, *ids: str) -> Resource:
    return Resource(kind, kind, tuple(Device(device, f"{kind}={device}") for device in ids))


def states(told: tuple[Resource, ...]) -> dict[str, tuple[bool, str]]:
    return {device.id: (device.healthy, device.reason) for resource in told for device in resource.devices}


def test_only_configured_kinds_are_advertised_each_with_its_devices_in_natural_order() -> None:
    specs = snapshot(
        gpus("d10", "d2"), spec_file(NIC, ["nic0"]), spec_file("other.com/fpga", ["0"]), spec_file(f"{GPU}s", ["0"])
    )
    assert Over(NIC, GPU).at(0, specs) == (healthy(NIC, "nic0"), healthy(GPU, "d2", "d10"))


def test_a_kind_without_devices_is_a_resource_without_devices() -> None:
    assert Over().at(0, EMPTY) == (Resource(GPU, GPU, ()),)


def test_a_resource_may_be_named_otherwise_than_its_kind() -> None:
    inventory = advance(
        Inventory(), Catalog.of(snapshot(spec_file(NIC, ["0"])), [NIC]), World({}, {}), Rules(), [NIC], PATIENCE, 0
    )
    (resource,) = tell(inventory, World({}, {}), {NIC: "cluster.example.com/fast-nic"}).resources
    assert (resource.name, resource.kind) == ("cluster.example.com/fast-nic", NIC)
    assert resource.devices[0].qualified_name == f"{NIC}=0"


def test_a_device_in_conflict_is_unhealthy_and_its_reason_names_the_files() -> None:
    told = states(Over().at(0, snapshot(gpus("d0", "d1"), gpus("d1", path="/etc/cdi/b.yaml"))))
    reason = f"defined more than once in one directory, by {FILE} and /etc/cdi/b.yaml: keep one of them"
    assert told == {"d0": (True, ""), "d1": (False, reason)}


def test_a_device_whose_node_is_missing_is_unhealthy_with_the_reason_and_recovers_by_itself() -> None:
    told = Over()
    specs = snapshot(gpus("d0", "d1"))
    assert states(told.at(0, specs, missing=["/dev/mock/d1"]))["d1"] == (False, "/dev/mock/d1 is not there")
    assert states(told.at(1, specs)) == {"d0": (True, ""), "d1": (True, "")}
    assert states(told.at(2, specs, missing=["/dev/mock/d0"]))["d0"] == (False, "/dev/mock/d0 is not there")


def test_a_valid_file_that_names_a_device_no_more_is_believed_at_once() -> None:
    told = Over()
    told.at(0, snapshot(gpus("d0", "d1")))
    after = states(told.at(1, snapshot(gpus("d0"))))
    assert after == {"d0": (True, ""), "d1": (False, "no valid CDI spec of this node defines it any more")}


def test_a_file_that_breaks_or_goes_is_an_outage_in_which_its_devices_stay_healthy_and_keep_the_reason() -> None:
    for broken, more in ((snapshot(rejected=[FILE]), f"; not valid: {FILE}"), (EMPTY, "")):
        told = Over()
        told.at(0, snapshot(gpus("d0")))
        reason = f"no valid CDI spec of this node defines it any more{more}"
        assert states(told.at(1, broken)) == {"d0": (True, reason)}
        assert due(told.inventory, 1) == 11
        assert states(told.at(10.9, broken)) == {"d0": (True, reason)}
        assert states(told.at(11, broken)) == {"d0": (False, reason)}
        assert states(told.at(12, snapshot(gpus("d0")))) == {"d0": (True, "")}


def test_why_a_device_is_gone_does_not_change_with_files_that_are_not_its_own() -> None:
    told = Over()
    told.at(0, snapshot(gpus("d0", "d1")))
    first = told.at(1, snapshot(gpus("d0")))
    for rejected in (["/etc/cdi/a.yaml"], ["/etc/cdi/a.yaml", "/etc/cdi/b.yaml"]):
        assert changes(first, told.at(2, snapshot(gpus("d0"), rejected=rejected))) == ()
    assert states(told.at(3, snapshot(rejected=["/etc/cdi/a.yaml", FILE])))["d1"][1].endswith(f"not valid: {FILE}")


def test_a_device_whose_definition_changed_settles_until_its_new_nodes_are_there() -> None:
    told = Over()
    told.at(0, snapshot(gpus("d0")))
    changed = snapshot(spec_file(GPU, {"d0": ["/dev/mock/new0"], "d1": ["/dev/mock/new1"]}, FILE))
    missing = ["/dev/mock/new0", "/dev/mock/new1"]
    after = states(told.at(1, changed, missing=missing))
    assert after["d0"] == (True, "/dev/mock/new0 is not there")
    assert after["d1"] == (False, "/dev/mock/new1 is not there")  # nothing was promised of it
    assert states(told.at(11, changed, missing=missing))["d0"][0] is False


def test_while_a_device_settles_no_other_name_gets_its_host_device_and_then_one_does_at_once() -> None:
    told = Over()
    told.at(0, snapshot(gpus("d0")))
    alias = spec_file(GPU, {"uuid-0": ["/dev/mock/d0"]}, "/etc/cdi/b.yaml")
    assert list(states(told.at(1, snapshot(alias, rejected=[FILE])))) == ["d0"]
    after = states(told.at(11, snapshot(alias, rejected=[FILE])))
    assert (after["d0"][0], after["uuid-0"]) == (False, (True, ""))


def test_a_device_that_is_gone_is_unhealthy_for_an_hour_and_then_forgotten() -> None:
    told = Over()
    told.at(0, snapshot(gpus("d0", "d1")))
    assert list(states(told.at(1, snapshot(gpus("d0"))))) == ["d0", "d1"]
    assert list(states(told.at(FORGET, snapshot(gpus("d0"))))) == ["d0", "d1"]
    assert list(states(told.at(FORGET + 1, snapshot(gpus("d0"))))) == ["d0"]


def test_devices_of_another_process_settle_after_a_start_and_unhealthy_ones_only_after_a_boot() -> None:
    well, ill = (Candidate(f"{GPU}={name}", GPU, name, FILE) for name in ("well1", "ill2"))
    recalled = [Recalled(well, healthy=True), Recalled(ill, healthy=False)]
    for same_boot, told_of_ill in ((True, False), (False, True)):
        before = remember(recalled, same_boot=same_boot, patience=PATIENCE, now=0)
        told = Over(before=before)
        gone = "no valid CDI spec of this node defines it any more"
        assert states(told.at(1, EMPTY)) == {"ill2": (told_of_ill, gone), "well1": (True, gone)}
        assert not any(health for health, _ in states(told.at(60, EMPTY)).values())
        late = Over(before=before)
        missing = ["/dev/mock/ill2", "/dev/mock/well1"]
        assert states(late.at(1, snapshot(gpus("ill2", "well1")), missing=missing))["well1"] == (
            True,
            "/dev/mock/well1 is not there",
        )
        assert all(health for health, _ in states(late.at(30, snapshot(gpus("ill2", "well1")))).values())
    assert remember(recalled, same_boot=True, patience=PATIENCE, now=0).known[well.name].health.reason == UNSEEN


def test_after_a_start_what_was_advertised_keeps_its_host_device_before_a_name_that_would_go_first() -> None:
    both = snapshot(spec_file(GPU, {"0": ["/dev/mock/d0"], "GPU-a": ["/dev/mock/d0"]}, FILE))
    advertised = Candidate(f"{GPU}=GPU-a", GPU, "GPU-a", FILE, (DeviceNode("/dev/mock/d0"),))
    for healthy in (True, False):
        before = remember([Recalled(advertised, healthy)], same_boot=True, patience=PATIENCE, now=0)
        assert states(Over(before=before).at(1, both)) == {"GPU-a": (True, "")}
    gone = remember([Recalled(advertised, healthy=False, defined=False)], same_boot=True, patience=PATIENCE, now=0)
    assert states(Over(before=gone).at(1, both))["0"] == (True, "")


def test_after_a_start_a_file_that_names_a_device_no_more_may_still_be_about_to_be_written() -> None:
    recalled = [Recalled(Candidate(f"{GPU}={name}", GPU, name, FILE), healthy=True) for name in ("d0", "d1")]
    told = Over(before=remember(recalled, same_boot=False, patience=PATIENCE, now=0))
    gone = "no valid CDI spec of this node defines it any more"
    partial = snapshot(gpus("d0"))
    assert states(told.at(1, partial)) == {"d0": (True, ""), "d1": (True, gone)}
    assert states(told.at(6, snapshot(gpus("d0", "d1"))))["d1"] == (True, "")
    assert states(told.at(7, partial))["d1"] == (False, gone), "it was seen meanwhile: now it is a statement"
    late = Over(before=remember(recalled, same_boot=False, patience=PATIENCE, now=0))
    late.at(1, partial)
    assert states(late.at(60, partial))["d1"] == (False, gone)


def test_a_host_device_that_a_container_has_gets_no_other_name() -> None:
    renamed = snapshot(spec_file(GPU, {"new0": ["/dev/mock/d0"], "new1": ["/dev/mock/d1"]}, FILE))
    told = Over()
    told.at(0, snapshot(gpus("d0", "d1")), in_use=[f"{GPU}=d0"])
    after = states(told.at(1, renamed, in_use=[f"{GPU}=d0"]))
    gone = "no valid CDI spec of this node defines it any more"
    assert after == {"d0": (False, gone), "d1": (False, gone), "new1": (True, "")}
    assert told.inventory.left_out[f"{GPU}=new0"].reason == f"a container has a host device of it as {GPU}=d0"
    assert "new0" not in states(told.at(FORGET + 2, renamed, in_use=[f"{GPU}=d0"])), "whatever time it takes"
    assert states(told.at(FORGET + 3, renamed)) == {"new0": (True, ""), "new1": (True, "")}


def test_neither_a_preference_nor_an_exclusion_takes_a_host_device_from_a_container() -> None:
    both = snapshot(
        spec_file(GPU, {"0": ["/dev/mock/d0"], "1": ["/dev/mock/d1"], "all": ["/dev/mock/d0", "/dev/mock/d1"]})
    )
    for rules, advertised in ((Rules(prefer=("*=all",)), ["0", "1"]), (Rules(include=("*=all",)), [])):
        told = Over(rules=rules)
        assert list(states(told.at(0, both, in_use=[f"{GPU}=0"]))) == advertised
        assert told.inventory.left_out[f"{GPU}=all"].reason == f"a container has a host device of it as {GPU}=0"
        assert states(told.at(1, both))["all"] == (True, "")


def test_an_exclusion_and_a_new_name_together_do_not_take_a_host_device_from_a_container() -> None:
    recalled = Recalled(Candidate(f"{GPU}=0", GPU, "0", FILE, (DeviceNode("/dev/mock/d0"),)), healthy=True)
    before = remember([recalled], same_boot=True, patience=PATIENCE, now=0)
    told = Over(before=before, rules=Rules(exclude=("*=0",)))
    specs = snapshot(spec_file(GPU, {"GPU-x": ["/dev/mock/d0"]}, FILE))
    for now in (1, 100):
        assert "GPU-x" not in states(told.at(now, specs, in_use=[f"{GPU}=0"]))
    assert states(told.at(101, specs)) == {"GPU-x": (True, "")}


def test_a_name_that_gets_other_nodes_while_a_container_has_it_keeps_the_old_ones_as_well() -> None:
    turned = snapshot(spec_file(GPU, {"d0": ["/dev/mock/d1"], "d1": ["/dev/mock/d0"], "d2": ["/dev/mock/d2"]}, FILE))
    told, has = Over(), [f"{GPU}=d0"]
    told.at(0, snapshot(gpus("d0", "d1", "d2")), in_use=has)
    had = f"not advertised any more: a container has a host device of it as {GPU}=d0"
    for now in (1, 20, FORGET):
        assert states(told.at(now, turned, in_use=has)) == {"d0": (True, ""), "d1": (False, had), "d2": (True, "")}
    also = snapshot(*turned.specs, spec_file(GPU, {"also": ["/dev/mock/d0"]}, "/etc/cdi/later.yaml"))
    assert "also" not in states(told.at(FORGET, also, in_use=has)), "nor does a name that comes later"
    assert states(told.at(FORGET + 1, turned)) == {"d0": (True, ""), "d1": (True, ""), "d2": (True, "")}
    assert states(told.at(FORGET + 2, turned, in_use=has))["d1"] == (True, ""), "another container has what is new"


def test_what_a_container_has_of_another_resource_is_not_advertised_until_it_has_ended() -> None:
    told, specs, name = Over(), snapshot(spec_file(GPU, {"0": ["/dev/mock/d0"], "GPU-a": ["/dev/mock/d0"]})), f"{GPU}=0"
    had = {name: "example.com/before"}
    assert states(told.at(0, specs, in_use=had, elsewhere=had)) == {}
    assert told.inventory.left_out[name].reason == "a container has it as a device of example.com/before"
    assert states(told.at(1, specs)) == {"0": (True, "")}
    after = states(told.at(2, specs, in_use=had, elsewhere=had))
    assert after == {"0": (False, "not advertised any more: a container has it as a device of example.com/before")}


def test_names_that_swap_their_nodes_while_containers_have_both_stay_healthy() -> None:
    told, has = Over(), [f"{GPU}=d0", f"{GPU}=d1"]
    told.at(0, snapshot(gpus("d0", "d1")), in_use=has)
    swapped = snapshot(spec_file(GPU, {"d0": ["/dev/mock/d1"], "d1": ["/dev/mock/d0"]}, FILE))
    assert states(told.at(1, swapped, in_use=has)) == {"d0": (True, ""), "d1": (True, "")}


def test_a_device_that_gets_the_numbers_of_one_that_a_container_has_waits_for_its_end() -> None:
    nodes = {name: ContainerEdits(device_nodes=(DeviceNode(f"/dev/mock/{name}"),)) for name in ("d0", "d1")}
    told, specs, has = Renumbered(), snapshot(spec_file(GPU, nodes, FILE)), [f"{GPU}=d0"]
    told.at(0, specs, in_use=has)
    told.minors = {"/dev/mock/d0": 1, "/dev/mock/d1": 0}
    had = f"not advertised any more: a container has a host device of it as {GPU}=d0"
    for now in (1, 20):
        assert states(told.at(now, specs, in_use=has)) == {"d0": (True, ""), "d1": (False, had)}
    assert list(told.restarted(21).inventory.had[f"{GPU}=d0"]) == [
        DeviceNode("/dev/mock/d0", "", "c", 240, 0),
        DeviceNode("/dev/mock/d0", "", "c", 240, 1),
    ]
    another = told.at(22, specs, in_use=has, renewed=has)
    assert states(another) == {"d0": (True, ""), "d1": (True, "")}, "another container has what is there now"
    assert states(told.at(23, specs)) == {"d0": (True, ""), "d1": (True, "")}


def test_what_a_container_had_is_known_after_a_start_and_over_after_a_boot() -> None:
    turned = snapshot(spec_file(GPU, {"d0": ["/dev/mock/d1"], "d1": ["/dev/mock/d0"]}, FILE))
    one = Candidate(f"{GPU}=d0", GPU, "d0", FILE, (DeviceNode("/dev/mock/d1"),))
    before = Candidate(f"{GPU}=d0", GPU, "d0", FILE, (DeviceNode("/dev/mock/d0"),))
    for recalled in (Recalled(one, healthy=True, had=before.nodes), Recalled(before, healthy=True)):
        for same_boot, advertised in ((True, ["d0"]), (False, ["d0", "d1"])):
            told = Over(before=remember([recalled], same_boot=same_boot, patience=PATIENCE, now=0))
            for now in (1, 100):
                assert list(states(told.at(now, turned, in_use=[f"{GPU}=d0"]))) == advertised


def test_of_two_containers_names_that_clash_each_keeps_what_is_its_own() -> None:
    devices = {"d1": ["/dev/mock/g", "/dev/mock/c1"], "d2": ["/dev/mock/g", "/dev/mock/c2"], "d3": ["/dev/mock/c2"]}
    told = Over()
    assert list(states(told.at(0, snapshot(spec_file(GPU, devices)), in_use=[f"{GPU}=d1", f"{GPU}=d2"]))) == ["d1"]


def test_while_a_device_is_gone_and_nothing_else_happens_nothing_is_made_anew() -> None:
    told, specs = Over(), snapshot(gpus("d0"))
    told.at(0, snapshot(gpus("d0", "d1")))
    told.at(1, specs)
    before = told.inventory
    told.at(20, specs)
    assert told.inventory is before
    assert due(told.inventory, 20) == FORGET + 1
    told.at(FORGET + 2, specs, in_use=[f"{GPU}=d1"])
    assert due(told.inventory, FORGET + 2) is None, "what is over is not to come"


def test_all_devices_are_unhealthy_while_the_nri_half_is_away_and_their_own_reasons_are_kept() -> None:
    told = Over()
    specs = snapshot(gpus("d0", "d1"))
    away = states(told.at(0, specs, missing=["/dev/mock/d1"], away="the NRI half is away"))
    assert away == {"d0": (False, "the NRI half is away"), "d1": (False, "/dev/mock/d1 is not there")}
    assert states(told.at(1, specs)) == {"d0": (True, ""), "d1": (True, "")}


def test_a_device_has_the_place_of_the_first_of_its_own_nodes_that_has_one() -> None:
    edits = ContainerEdits(device_nodes=(DeviceNode("/dev/ctl"), DeviceNode("/dev/gpu0")))
    (resource,) = Over().at(0, snapshot(spec_file(GPU, {"0": edits})), places={"/dev/gpu0": Place(1, "pci0000:17")})
    assert resource.devices[0].place == Place(1, "pci0000:17")


_files = st.lists(st.sampled_from(["d0", "d1", "d2"]), max_size=3, unique=True).map(lambda names: gpus(*names))
_steps = st.tuples(
    st.floats(0.1, 30), st.none() | _files, st.booleans(), st.sets(st.sampled_from(["/dev/mock/d0", "/dev/mock/d2"]))
)


@settings(max_examples=50, deadline=None)  # each example is a life of several steps
@given(st.lists(_steps, max_size=8))
def test_no_device_is_lost_within_the_hour_and_whatever_is_wrong_has_a_reason(
    steps: list[tuple[float, SpecFile | None, bool, set[str]]],
) -> None:
    told, now, seen = Over(), 0.0, set[str]()
    for pause, file, broken, missing in steps:
        now += pause
        specs = snapshot(*([file] if file else []), rejected=["/etc/cdi/other.yaml"] if broken else [])
        after = states(told.at(now, specs, missing=missing))
        assert seen <= after.keys()
        for device, (well, reason) in after.items():
            resolves = f"{GPU}={device}" in specs.devices
            in_order = resolves and f"/dev/mock/{device}" not in missing
            assert well or reason
            assert bool(reason) or in_order
        seen |= after.keys()


_paths = st.sets(st.sampled_from([f"/dev/mock/d{number}" for number in range(4)]), max_size=3)


@st.composite
def _specs(draw: st.DrawFn) -> Snapshot:
    """Up to three files of two kinds: names for the same few nodes, some in two files, some files not valid."""
    files, rejected = [], []
    for path, kind in (("/etc/cdi/a.yaml", GPU), ("/etc/cdi/b.yaml", GPU), ("/etc/cdi/c.yaml", NIC)):
        devices = draw(st.dictionaries(st.sampled_from(["d0", "d1", "d2", "all"]), _paths, max_size=4))
        if not draw(st.integers(0, 3)):
            rejected.append(path)
        elif devices:
            files.append(spec_file(kind, devices, path, common=draw(st.sampled_from([(), ("/dev/mock/ctl",)]))))
    return snapshot(*files, rejected=rejected)


_used = st.frozensets(st.sampled_from([f"{GPU}=d0", f"{GPU}=d1", f"{GPU}=all", f"{NIC}=d0"]), max_size=2)
_life = st.tuples(st.floats(0.1, 30), st.integers(0, 2), _paths, _paths, st.sampled_from(["", "", "away"]), _used)


@settings(max_examples=150, deadline=None)  # each example is a life of several steps
@given(
    st.lists(_specs(), min_size=3, max_size=3),
    st.lists(_life, max_size=10),
    st.sampled_from([Rules(), Rules(prefer=("*=all",)), Rules(exclude=("*=d1",)), Rules(shared=("/dev/mock/d0",))]),
)
def test_what_is_made_from_what_was_before_is_what_is_made_from_nothing(
    several: list[Snapshot], steps: list[tuple[float, int, set[str], set[str], str, frozenset[str]]], rules: Rules
) -> None:
    told, now = Over(GPU, NIC, rules=rules), 0.0
    for pause, which, missing, swapped, away, in_use in steps:
        now += pause
        told.swapped = swapped
        told.at(now, several[which], missing=missing, away=away, in_use=in_use)  # compares the two


_NODES = [f"/dev/mock/d{number}" for number in range(4)]


class Renumbered(Over):
    """Its nodes have no numbers in the specs, and on the host those of `minors`."""

    minors: Mapping[str, int] = MappingProxyType({path: number for number, path in enumerate(_NODES)})

    def number(self, path: str) -> HostNode:
        return HostNode("c", 240, self.minors[path], 0o666)

    def restarted(self, now: float) -> Renumbered:
        """What another process of the same boot makes of what this one remembers."""
        had = self.inventory.had
        recalled = [
            Recalled(known.candidate, known.health.healthy, known.gone_since is None, had.get(name, ()))
            for name, known in self.inventory.known.items()
        ]
        before = remember(recalled, same_boot=True, patience=PATIENCE, now=now)
        new = Renumbered(*self.kinds, before=before, rules=self.rules)
        new.minors = self.minors
        return new


def unnumbered(specs: Snapshot) -> Snapshot:
    """The same files, whose own nodes have no numbers."""
    files = []
    for file in specs.specs:
        devices = {
            device.name: ContainerEdits(
                env=("A=b",), device_nodes=tuple(DeviceNode(node.path) for node in device.edits.device_nodes)
            )
            for device in file.spec.devices
        }
        files.append(spec_file(file.spec.kind, devices, file.path))
    return snapshot(*files, rejected=specs.errors)


_turn = st.tuples(
    st.sampled_from([0.1, 1.0, 5.0, 11.0, 30.0]),
    st.integers(0, 2),
    st.none() | st.permutations(range(4)),
    st.sets(st.integers(0, 11), max_size=3),
    st.sets(st.integers(0, 11), max_size=1),
    st.integers(0, 4).map(lambda number: number == 0),
)


@settings(max_examples=200, deadline=None)  # each example is a life of several steps
@given(
    st.lists(_specs().map(unnumbered), min_size=3, max_size=3),
    st.lists(_turn, max_size=10),
    st.sampled_from([Rules(), Rules(prefer=("*=all",)), Rules(exclude=("*=d1",))]),
)
def test_what_a_container_may_have_is_healthy_under_no_name_that_is_free(
    several: list[Snapshot],
    turns: list[tuple[float, int, list[int] | None, set[int], set[int], bool]],
    rules: Rules,
) -> None:
    told, now = Renumbered(GPU, NIC, rules=rules), 0.0
    has: dict[str, set[object]] = {}  # what containers may have got by each name: paths and minor numbers
    free: set[str] = set()
    for pause, which, minors, used, others, restarted in turns:
        now += pause
        before, minors_before = told.catalog, told.minors
        if restarted:
            told = told.restarted(now)
        if minors is not None:
            told.minors = dict(zip(_NODES, minors, strict=True))
        may = sorted(has if restarted else free | has.keys())  # the kubelet allocates what is healthy
        names = [name for number, name in enumerate(may) if number in used]
        renewed = [name for number, name in enumerate(may) if number in others and name in free & has.keys()]
        has = {name: has.get(name, set()) if name not in renewed else set() for name in names}
        for catalog, numbers in ((before, minors_before), (Catalog.of(several[which], told.kinds), told.minors)):
            for name in has.keys() & (catalog.found if catalog is not None else {}).keys():
                for path in Catalog.paths_of(catalog.found[name]) if catalog is not None else ():
                    has[name].update((path, numbers[path]))
        resources = told.at(now, several[which], in_use=has, renewed=renewed)
        free = {device.qualified_name for resource in resources for device in resource.devices if device.healthy}
        assert told.catalog is not None
        for name in (free - has.keys()) & told.catalog.found.keys():
            paths = Catalog.paths_of(told.catalog.found[name])
            mine: set[object] = {*paths, *(told.minors[path] for path in paths)}
            assert not any(mine & theirs for theirs in has.values())


def test_a_device_that_changes_leaves_all_others_the_objects_that_they_were() -> None:
    names = [f"d{number}" for number in range(20)]
    told = Over()
    before = told.at(0, snapshot(gpus(*names)))
    nodes = {name: [f"/dev/mock/{name}"] for name in names} | {"d7": ["/dev/mock/other7"], "d20": ["/dev/mock/d20"]}
    after = told.at(1, snapshot(spec_file(GPU, nodes, FILE)))
    assert [device.id for device in after[0].devices] == [*names, "d20"]
    same = [device.id for device, old in zip(after[0].devices, before[0].devices, strict=False) if device is old]
    assert same == [name for name in names if name != "d7"]
    assert told.inventory.known[f"{GPU}=d7"].candidate.nodes[0].path == "/dev/mock/other7"


def test_what_changed_is_said_once_and_devices_are_gathered_by_reason() -> None:
    names = tuple(f"device_{i}" for i in range(7))
    told = Over()
    first = told.at(0, snapshot(gpus(*names)))
    second = told.at(1, EMPTY)
    third = told.at(11, EMPTY)
    reason = "no valid CDI spec of this node defines it any more"
    some = "device_0, device_1, device_2, device_3, device_4 and 2 more"
    assert changes((), first) == (Change(f"{GPU}: 7 devices, 7 healthy"),)
    assert changes(first, first) == ()
    assert changes(first, second) == (
        Change(f"{GPU}: 7 devices, 7 healthy"),
        Change(f"{GPU}: healthy while they settle, their containers are held: {some}: {reason}", alarming=True),
    )
    assert changes(second, third) == (
        Change(f"{GPU}: 7 devices, 0 healthy"),
        Change(f"{GPU}: unhealthy: {some}: {reason}", alarming=True),
    )
    assert changes(third, first) == (Change(f"{GPU}: 7 devices, 7 healthy"),)


def test_names_that_are_not_advertised_are_said_once_and_two_resources_of_one_device_are_a_warning() -> None:
    specs = snapshot(gpus("d0"), spec_file(NIC, {"x": ["/dev/mock/d0"]}), spec_file(GPU, {"z": ["/dev/mock/d0"]}, "/b"))
    told = Over(GPU, NIC)
    told.at(0, specs)
    said = omissions({}, told.inventory.left_out)
    assert said == (
        Change(f"not advertised: {GPU}=z: it is the same host device as {GPU}=d0 (/dev/mock/d0)"),
        Change(f"not advertised: {NIC}=x: it is the same host device as {GPU}=d0 (/dev/mock/d0)", alarming=True),
    )
    assert omissions(told.inventory.left_out, told.inventory.left_out) == ()


def test_real_spec_files_become_devices_conflicts_and_reasons(tmp_path: pathlib.Path) -> None:
    def spec(*names: str) -> str:
        devices = [{"name": name, "containerEdits": {"env": [f"X={name}"]}} for name in names]
        return json.dumps({"cdiVersion": "0.6.0", "kind": GPU, "devices": devices})

    def read() -> Snapshot:
        return Snapshot.build(scan_directories([str(tmp_path)]))

    first, second, told = tmp_path / "a.json", tmp_path / "b.json", Over()
    first.write_text(spec("device_1", "device_10"))
    second.write_text(spec("device_2", "device_10"))
    now = told.at(0, read())
    assert [(device.id, device.healthy) for device in now[0].devices] == [
        ("device_1", True),
        ("device_2", True),
        ("device_10", False),
    ]
    assert f"{first} and {second}" in now[0].devices[2].reason
    second.write_text("{")
    now = told.at(1, read())
    assert [(device.id, device.healthy) for device in now[0].devices] == [
        ("device_1", True),
        ("device_2", True),
        ("device_10", True),
    ]
    assert now[0].devices[1].reason.endswith(f"not valid: {second}")
