"""Injection into an OCI spec: each section, its order, and that nothing else is touched."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings

from nri_cdi.cdi import ContainerEdits, DeviceNode, Hook, HostNode, InjectionError, IntelRdt, Mount, NetDevice, inject
from nri_cdi.testing import specs
from nri_cdi.testing.host import FakeHost

Json = dict[str, Any]

RULE = {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"}


def injected(oci: Json, **edits: Any) -> Json:  # noqa: ANN401 - the fields of ContainerEdits
    return inject(oci, ContainerEdits(**edits), FakeHost())


def test_no_edits_change_nothing() -> None:
    assert injected({"mounts": [{"destination": "/b"}, {"destination": "/"}]}) == {
        "mounts": [{"destination": "/b"}, {"destination": "/"}]
    }


@pytest.mark.parametrize(
    ("env", "added", "merged"),
    [
        (None, ("A=1",), ["A=1"]),
        (["A=0", "B=0"], ("A=1",), ["A=1", "B=0"]),
        (["A=0", "A=1"], ("A=2",), ["A=0", "A=2"]),
        (["FLAG"], ("FLAG=1",), ["FLAG=1"]),
        (["A=0"], ("B=1", "A=1", "B=2"), ["A=1", "B=2"]),
        (["PATH=/bin=x"], ("PATH=/y=z",), ["PATH=/y=z"]),
    ],
)
def test_a_variable_is_replaced_in_its_place_or_appended(
    env: list[str] | None, added: tuple[str, ...], merged: list[str]
) -> None:
    assert injected({"process": {"env": env}}, env=added)["process"]["env"] == merged


def test_a_missing_process_gets_the_fields_that_oci_requires() -> None:
    assert injected({}, env=("A=1",))["process"] == {"user": {"uid": 0, "gid": 0}, "cwd": "", "env": ["A=1"]}


def test_a_device_goes_to_the_end_and_gets_one_rule() -> None:
    oci = {
        "linux": {"devices": [{"path": "/dev/null"}, {"path": "/dev/b"}], "resources": {"devices": [{"allow": False}]}}
    }
    linux = injected(oci, device_nodes=(DeviceNode("/dev/null"),))["linux"]
    assert linux["devices"] == [
        {"path": "/dev/b"},
        {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666},
    ]
    assert linux["resources"]["devices"] == [{"allow": False}, RULE]


def test_the_second_of_two_devices_at_one_path_is_replaced_in_place() -> None:
    oci = {"linux": {"devices": [{"path": "/dev/null", "n": 1}, {"path": "/dev/null", "n": 2}, {"path": "/dev/b"}]}}
    devices = injected(oci, device_nodes=(DeviceNode("/dev/null"),))["linux"]["devices"]
    assert [device["path"] for device in devices] == ["/dev/null", "/dev/b"]
    assert "n" not in devices[0]


@pytest.mark.parametrize(
    ("node", "rules"),
    [
        (DeviceNode("/dev/null", permissions="r"), [{**RULE, "access": "r"}]),
        (
            DeviceNode("/dev/null", permissions="none"),
            [{key: RULE[key] for key in ("allow", "type", "major", "minor")}],
        ),
        (DeviceNode("/x", type="b", major=9), [{"allow": True, "type": "b", "major": 9, "minor": 0, "access": "rwm"}]),
        (DeviceNode("/x", type="p"), []),
        (DeviceNode("/x", type="u", major=9), []),
    ],
)
def test_block_and_character_devices_get_a_rule(node: DeviceNode, rules: list[Json]) -> None:
    assert injected({}, device_nodes=(node,))["linux"].get("resources", {"devices": []})["devices"] == rules


def test_the_same_device_twice_is_one_node_and_two_rules() -> None:
    linux = injected({}, device_nodes=(DeviceNode("/dev/null"), DeviceNode("/dev/null")))["linux"]
    assert (len(linux["devices"]), linux["resources"]["devices"]) == (1, [RULE, RULE])


@pytest.mark.parametrize(
    ("user", "node", "owner"),
    [
        ({"uid": 5, "gid": 6}, DeviceNode("/dev/null"), {"uid": 5, "gid": 6}),
        ({"uid": 0, "gid": 6}, DeviceNode("/dev/null"), {"gid": 6}),
        ({"uid": 5, "gid": 6}, DeviceNode("/dev/null", uid=0), {"uid": 0, "gid": 6}),
        ({}, DeviceNode("/dev/null", gid=7), {"gid": 7}),
    ],
)
def test_a_node_without_an_owner_is_the_container_users(user: Json, node: DeviceNode, owner: Json) -> None:
    device = injected({"process": {"user": user}}, device_nodes=(node,))["linux"]["devices"][0]
    assert {key: device[key] for key in ("uid", "gid") if key in device} == owner


def test_a_mount_replaces_the_first_at_its_destination_and_all_are_sorted_by_depth() -> None:
    oci = {
        "mounts": [
            {"destination": "/a/b/c"},
            {"destination": "//x//y"},
            {"destination": "/a"},
            {"destination": "rel"},
            {"destination": "/"},
        ]
    }
    mounts = injected(oci, mounts=(Mount("/h", "/a/b/c", ("ro",), "bind"),))["mounts"]
    assert [mount["destination"] for mount in mounts] == ["rel", "/a", "/", "//x//y", "/a/b/c"]
    assert mounts[-1] == {"destination": "/a/b/c", "source": "/h", "options": ["ro"], "type": "bind"}


@pytest.mark.parametrize(
    ("mount", "options"),
    [
        (Mount("/h", "/c", (), "bind"), ["idmap"]),
        (Mount("/h", "/c", ("bind",)), ["bind", "idmap"]),
        (Mount("/h", "/c", ("rbind", "ro")), ["rbind", "ro", "ridmap"]),
        (Mount("/h", "/c", ("rbind", "bind")), ["rbind", "bind", "idmap"]),
        (Mount("/h", "/c", ("bind", "ridmap")), ["bind", "ridmap"]),
        (Mount("/h", "/c", ("ro",), "tmpfs"), ["ro"]),
    ],
)
def test_bind_mounts_are_id_mapped_in_a_user_namespace_only(mount: Mount, options: list[str]) -> None:
    mapped = injected({"linux": {"namespaces": [{"type": "pid"}, {"type": "user"}]}}, mounts=(mount,))["mounts"][0]
    assert mapped["options"] == options
    assert injected({}, mounts=(mount,))["mounts"][0].get("options", []) == list(mount.options)


def test_hooks_are_appended_to_the_list_of_their_kind() -> None:
    hooks = (Hook("prestart", "/a", ("x",), ("A=1",), 0), Hook("poststop", "/b"), Hook("prestart", "/a"))
    assert injected({"hooks": {"prestart": [{"path": "/old"}]}}, hooks=hooks)["hooks"] == {
        "prestart": [{"path": "/old"}, {"path": "/a", "args": ["x"], "env": ["A=1"], "timeout": 0}, {"path": "/a"}],
        "poststop": [{"path": "/b"}],
    }


def test_rdt_settings_are_replaced_as_a_whole() -> None:
    old = {"linux": {"intelRdt": {"closID": "old", "l3CacheSchema": "x"}}}
    assert injected(old, intel_rdt=IntelRdt("new", schemata=()))["linux"]["intelRdt"] == {"closID": "new"}
    assert injected(old, intel_rdt=IntelRdt())["linux"]["intelRdt"] == {}


def test_network_devices_are_keyed_by_the_host_interface() -> None:
    net_devices = (NetDevice("eth1", "a"), NetDevice("eth2", "b"))
    assert injected({"linux": {"netDevices": {"eth1": {"name": "x"}}}}, net_devices=net_devices)["linux"][
        "netDevices"
    ] == {
        "eth1": {"name": "a"},
        "eth2": {"name": "b"},
    }


def test_group_ids_are_added_once_and_never_zero() -> None:
    oci = {"process": {"user": {"additionalGids": [5]}}}
    assert injected(oci, additional_gids=(0, 5, 6, 6))["process"]["user"]["additionalGids"] == [5, 6]
    assert injected({}, additional_gids=(0,)) == {}


@pytest.mark.parametrize(
    ("oci", "edits", "where"),
    [
        ({"process": []}, {"env": ("A=1",)}, "process"),
        ({"process": {"env": "x"}}, {"env": ("A=1",)}, "process.env"),
        ({"linux": {"devices": {}}}, {"device_nodes": (DeviceNode("/dev/null"),)}, "linux.devices"),
        ({"mounts": {}}, {"mounts": (Mount("/a", "/b"),)}, "mounts"),
        ({}, {"hooks": (Hook("start", "/x"),)}, "hook"),
        ({}, {"device_nodes": (DeviceNode("/none"),)}, "/none"),
    ],
)
def test_what_cannot_be_applied_is_an_error_that_names_its_place(oci: Json, edits: Json, where: str) -> None:
    with pytest.raises(InjectionError, match="failed to inject devices") as caught:
        injected(oci, **edits)
    assert where in caught.value.subject


def test_a_failing_injection_changes_nothing() -> None:
    oci: Json = {"process": {"env": ["A=0"]}, "linux": {"devices": []}}
    before = copy.deepcopy(oci)
    with pytest.raises(InjectionError):
        injected(oci, env=("A=1",), device_nodes=(DeviceNode("/dev/null"), DeviceNode("/none")))
    assert oci == before


@settings(max_examples=60)
@given(specs.oci_specs(), specs.edits)
def test_injection_never_changes_its_input_and_keeps_what_it_does_not_know(oci: Json, edits: ContainerEdits) -> None:
    before = copy.deepcopy(oci)
    host = FakeHost(
        {
            node.host_path or node.path: HostNode("b" if node.type == "b" else "c", 5, 6, 0o600)
            for node in edits.device_nodes
        }
    )
    try:
        result = inject(oci, edits, host)
    except InjectionError:
        assert any(node.type and not node.major for node in edits.device_nodes), (
            "only a type that the host must confirm can fail here"
        )
    else:
        assert (result["ociVersion"], result["unknown"]) == ("1.2.0", [1])
        assert {variable.partition("=")[0] for variable in edits.env} <= {
            variable.partition("=")[0] for variable in (result.get("process") or {}).get("env") or ()
        }
    assert oci == before
