"""What a container gets: merged, without what it has, narrowed, in an order that the runtime takes."""

from __future__ import annotations

import pytest

from nri_cdi.allocation import GUARD_ROOT
from nri_cdi.cdi import ContainerEdits, DeviceNode, Hook, HostNode, Mount
from nri_cdi.inject.marks import broken
from nri_cdi.inject.request import shown
from nri_cdi.nri import Refused, Version, api
from nri_cdi.testing.containers import (
    FOREIGN,
    KEY,
    MARK,
    NRI_1_7,
    NRI_2_1,
    NRI_2_2,
    POD,
    VERSIONS,
    Host,
    adjusted,
    carrying,
    guarded,
    shown_at_start,
    shown_to_next,
)


def node(path: str = "/dev/x", major: int = 10, minor: int = 1, permissions: str = "", **more: object) -> DeviceNode:
    return DeviceNode(path, type="c", major=major, minor=minor, permissions=permissions, **more)  # type: ignore[arg-type]  # a shorthand of this test


def bind(source: str, destination: str, *options: str) -> Mount:
    return Mount(source, destination, ("rbind", *options))


def rules(adjust: api.ContainerAdjustment) -> list[tuple[bool, str, int, int, str]]:
    return [
        (rule.allow, rule.type, rule.major.value, rule.minor.value, rule.access)
        for rule in adjust.linux.resources.devices
    ]


# -- merging


def test_of_edits_that_set_one_thing_twice_the_last_wins() -> None:
    adjust = adjusted(
        carrying(KEY, "a", "b"),
        ContainerEdits(
            env=("A=1", "B=1"), device_nodes=(node(minor=1),), mounts=(bind("/s1", "/d"), bind("/s1", "/e"))
        ),
        ContainerEdits(env=("A=2",), device_nodes=(node(minor=2),), mounts=(bind("/s2", "/d"),)),
        host=Host(paths=["/s1", "/s2"]),
    )
    assert {entry.key: entry.value for entry in adjust.env} == {"A": "2", "B": "1"}
    assert [(device.path, device.minor) for device in adjust.linux.devices] == [("/dev/x", 2)]
    assert {mount.destination: mount.source for mount in adjust.mounts} == {"/e": "/s1", "/d": "/s2"}


def test_hooks_of_all_kinds_all_run_repeats_too() -> None:
    kinds = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    hooks = tuple(Hook(kind, "/bin/h", ("h", kind), ("A=1",), 7) for kind in kinds)
    adjust = adjusted(carrying(), ContainerEdits(hooks=(*hooks, hooks[0])))
    assert [list(hook.args) for hook in adjust.hooks.prestart] == [["h", "prestart"]] * 2
    sent = adjust.hooks
    for field in (sent.create_runtime, sent.create_container, sent.start_container, sent.poststart, sent.poststop):
        assert [(hook.path, list(hook.env), hook.timeout.value) for hook in field] == [("/bin/h", ["A=1"], 7)]


def test_destinations_that_differ_in_their_spelling_only_are_one() -> None:
    edits = ContainerEdits(mounts=(bind("/s1", "/mnt/v/"), bind("/s2", "//mnt/./v")))
    adjust = adjusted(carrying(), edits, host=Host(paths=["/s1", "/s2"]))
    assert [(mount.destination, mount.source) for mount in adjust.mounts] == [("//mnt/./v", "/s2")]


def test_a_mount_replaces_the_pods_own_under_the_pods_spelling() -> None:
    container = carrying()
    container.mounts.add(destination="/mnt/v/", source="/pod", options=["rbind"])
    adjust = adjusted(container, ContainerEdits(mounts=(bind("/s", "/mnt/v"),)), host=Host(paths=["/s"]))
    assert [(mount.destination, mount.source) for mount in adjust.mounts] == [("/mnt/v/", "/s")]
    after = shown_at_start(container, adjust, NRI_2_2)
    assert [(mount.destination, mount.source) for mount in after.mounts] == [("/mnt/v/", "/s")]
    assert broken(after.annotations[MARK], shown(POD, after)) == 0


def test_mounts_that_propagate_go_last() -> None:
    edits = ContainerEdits(
        mounts=(bind("/s", "/1", "rslave"), bind("/s", "/2"), bind("/s", "/3", "rshared"), bind("/s", "/4"))
    )
    adjust = adjusted(carrying(), edits, host=Host(paths=["/s"]))
    assert [mount.destination for mount in adjust.mounts] == ["/2", "/4", "/1", "/3"]


# -- device nodes


@pytest.mark.parametrize(
    ("uid", "gid", "edit", "owner"),
    [
        (1000, 2000, node(), (1000, 2000)),
        (1000, 0, node(), (1000, None)),
        (0, 0, node(), (None, None)),
        (1000, 2000, node(uid=0, gid=7), (0, 7)),
    ],
)
def test_a_node_without_an_owner_belongs_to_the_containers_process(
    uid: int, gid: int, edit: DeviceNode, owner: tuple[int | None, int | None]
) -> None:
    container = carrying()
    container.user.uid, container.user.gid = uid, gid
    (device,) = adjusted(container, ContainerEdits(device_nodes=(edit,))).linux.devices
    assert (
        device.uid.value if device.HasField("uid") else None,
        device.gid.value if device.HasField("gid") else None,
    ) == owner


def test_what_a_spec_leaves_open_comes_from_the_host() -> None:
    host = Host({"/dev/real": HostNode("b", 8, 3, 0o640)})
    edits = ContainerEdits(device_nodes=(DeviceNode("/dev/x", host_path="/dev/real"),))
    (device,) = adjusted(carrying(), edits, host=host).linux.devices
    assert (device.path, device.type, device.major, device.minor, device.file_mode.value) == (
        "/dev/x",
        "b",
        8,
        3,
        0o640,
    )


@pytest.mark.parametrize(
    ("permissions", "denied"),
    [("", None), ("rwm", None), ("rw", None), ("r", "wm"), ("w", "rm"), ("m", "rwm"), ("none", "rwm")],
)
def test_narrower_permissions_are_taken_away_behind_the_devices_own_rule(permissions: str, denied: str | None) -> None:
    adjust = adjusted(carrying(), ContainerEdits(device_nodes=(node(permissions=permissions),)))
    assert rules(adjust) == ([(False, "c", 10, 1, denied)] if denied else [])


@pytest.mark.parametrize("nri", [NRI_1_7, NRI_2_1])
def test_a_runtime_that_cannot_narrow_permissions_makes_a_refusal_by_name(nri: Version) -> None:
    with pytest.raises(Refused, match="allows only r for the device node /dev/x"):
        adjusted(carrying(), ContainerEdits(device_nodes=(node(permissions="r"),)), nri=nri)


def test_nodes_with_the_same_numbers_have_the_access_of_all_of_them() -> None:
    """The cgroup knows numbers only: what is denied for one path would be denied for the other."""
    edits = ContainerEdits(device_nodes=(node("/dev/r", permissions="r"), node("/dev/w", permissions="w")))
    adjust = adjusted(carrying(), edits, nri=NRI_2_1)
    assert (len(adjust.linux.devices), rules(adjust)) == (2, [])


def test_nothing_is_denied_that_the_container_may_do_already() -> None:
    container = carrying()
    container.linux.resources.devices.add(allow=True, type="a", access="rwm")  # privileged
    adjust = adjusted(container, ContainerEdits(device_nodes=(node(permissions="r"),)), nri=NRI_2_1)
    assert (len(adjust.linux.devices), rules(adjust)) == (1, [])


# -- guards


@pytest.mark.parametrize("nri", VERSIONS.values(), ids=VERSIONS)
def test_the_guard_is_lifted_with_the_injection(nri: Version) -> None:
    container = guarded(carrying())
    adjust = adjusted(container, ContainerEdits(env=("A=1",)), nri=nri)
    after = {mount.destination: mount.type for mount in shown_at_start(container, adjust, nri).mounts}
    if nri == NRI_1_7:  # it takes no mount away: a cover lies on the parent
        assert after[GUARD_ROOT] == "tmpfs"
    else:
        assert after == {}


def test_a_guard_without_its_parent_is_left_alone() -> None:
    container = guarded(carrying())
    del container.mounts[0]
    assert not adjusted(container, ContainerEdits(env=("A=1",))).mounts


def test_a_container_that_has_everything_but_the_mark_gets_the_mark_and_its_guard_lifted() -> None:
    container = guarded(carrying())
    container.env.append("A=1")
    adjust = adjusted(container, ContainerEdits(env=("A=1",)))
    assert not adjust.env
    assert set(adjust.annotations) == {MARK}
    assert len(adjust.mounts) == 2


# -- what the runtime's own CDI has done


def by_the_runtime(container: api.Container, edits: ContainerEdits) -> api.Container:
    """The container as the runtime's own CDI leaves it: devices with their exact rules, mounts, env, hooks."""
    for device in edits.device_nodes:
        container.linux.devices.add(path=device.path, type=device.type, major=device.major, minor=device.minor)
        rule = container.linux.resources.devices.add(allow=True, type=device.type, access=device.permissions or "rwm")
        rule.major.value, rule.minor.value = device.major, device.minor
    for mount in edits.mounts:
        container.mounts.add(destination=mount.container_path, source=mount.host_path, options=mount.options)
    container.env.extend(edits.env)
    for hook in edits.hooks:
        container.hooks.create_container.add(path=hook.path, args=hook.args)
    return container


NATIVE = ContainerEdits(
    env=("A=1",),
    device_nodes=(node(), node("/dev/ro", minor=2, permissions="r")),
    mounts=(bind("/s", "/d", "ro"),),
    hooks=(Hook("createContainer", "/bin/h", ("h",)), Hook("createContainer", "/bin/h", ("h",))),
)


@pytest.mark.parametrize("nri", VERSIONS.values(), ids=VERSIONS)
def test_where_the_runtimes_own_cdi_has_been_at_work_nothing_is_sent(nri: Version) -> None:
    container = by_the_runtime(carrying(FOREIGN), NATIVE)
    assert adjusted(container, NATIVE, nri=nri) == api.ContainerAdjustment()


def test_a_hook_that_the_spec_has_twice_and_the_container_once_is_sent_once() -> None:
    container = by_the_runtime(carrying(FOREIGN), NATIVE)
    del container.hooks.create_container[0]
    assert len(adjusted(container, NATIVE).hooks.create_container) == 1


@pytest.mark.parametrize(
    "member",
    [
        ContainerEdits(device_nodes=(node(),), additional_gids=(44,)),
        ContainerEdits(hooks=NATIVE.hooks, additional_gids=(44,)),
    ],
)
def test_what_nri_has_no_field_for_is_no_matter_where_the_runtimes_own_cdi_did_it(member: ContainerEdits) -> None:
    assert adjusted(by_the_runtime(carrying(FOREIGN), member), member, nri=NRI_2_1) == api.ContainerAdjustment()


def test_groups_that_the_runtime_shows_are_there() -> None:
    container = carrying(FOREIGN)
    container.user.additional_gids.extend([44, 107])
    assert adjusted(container, ContainerEdits(env=("A=1",), additional_gids=(0, 44))).env


@pytest.mark.parametrize("privileged", [False, True])
def test_variables_or_a_node_of_a_privileged_container_do_not_prove_that_groups_were_added(
    privileged: bool,  # noqa: FBT001  # a parameter of the test
) -> None:
    container = carrying()
    container.env.append("A=1")
    edits = ContainerEdits(env=("A=1",), additional_gids=(44,))
    if privileged:
        edits = ContainerEdits(env=("A=1",), device_nodes=(node(),), additional_gids=(44,))
        container.linux.devices.add(path="/dev/x", type="c", major=10, minor=1)
        container.linux.resources.devices.add(allow=True, type="a", access="rwm")
    with pytest.raises(Refused, match="additionalGids"):
        adjusted(container, edits)


# -- another instance of ours, and the mark


def test_a_second_instance_sends_nothing_for_foreign_keys_either() -> None:
    edits = ContainerEdits(device_nodes=(node(), node("/dev/ro", minor=2, permissions="r")), env=("A=1",))
    container = carrying(FOREIGN)
    assert adjusted(shown_to_next(container, adjusted(container, edits)), edits) == api.ContainerAdjustment()


def test_the_mark_breaks_when_the_access_of_a_node_is_taken_away() -> None:
    container = carrying()
    after = shown_at_start(container, adjusted(container, ContainerEdits(device_nodes=(node(),))), NRI_2_2)
    rule = after.linux.resources.devices.add(allow=False, type="c", access="w")
    rule.major.value, rule.minor.value = 10, 1
    assert broken(after.annotations[MARK], shown(POD, after)) == 1
