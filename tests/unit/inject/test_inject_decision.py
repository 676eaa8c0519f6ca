"""What a container gets: merged, without what it has, narrowed, in an order that the runtime takes; and that the mark proves it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nri_cdi.allocation import GUARD_ROOT, guard_destinations, key_name, mark_key
from nri_cdi.cdi import ContainerEdits, DeviceNode, Hook, HostNode, Mount
from nri_cdi.cdi.paths import clean
from nri_cdi.inject.marks import broken
from nri_cdi.inject.request import shown
from nri_cdi.nri import Event, Refused, Version, api
from nri_cdi.testing.containers import KIND, Conflict, Host, injector, shown_at_start, shown_to_next, snapshot

T = TypeVar("T")

KEY = "cdi.k8s.io/" + key_name(bytes(16))
MARK = mark_key(key_name(bytes(16)))
FOREIGN = "cdi.k8s.io/other_gpu"
POD = api.PodSandbox(name="p", namespace="ns")
NRI_1_7, NRI_2_1, NRI_2_2 = Version(0, 6, 1), Version(0, 8, 0), Version(0, 10, 0)
VERSIONS = {"containerd 1.7": NRI_1_7, "containerd 2.1": NRI_2_1, "containerd 2.2": NRI_2_2}


def carrying(key: str = KEY, *names: str) -> api.Container:
    return api.Container(
        name="main", annotations={key: ",".join(f"{KIND}={name}" for name in (names or ("a",)))}, env=["PATH=/bin"]
    )


def guarded(container: api.Container) -> api.Container:
    for destination in guard_destinations(key_name(bytes(16))):
        container.mounts.add(destination=destination, source="/dev/null", options=["bind", "ro"])
    return container


def ask(
    container: api.Container, *edits: ContainerEdits, nri: Version = NRI_2_2, host: Host | None = None
) -> api.ContainerAdjustment:
    """The adjustment of a container on a node with the devices a, b, ... that have these edits."""
    node = snapshot(dict(zip("abc", edits, strict=False)))
    answer = injector(node, nri, host).create_container(api.CreateContainerRequest(pod=POD, container=container))
    return answer.adjust if answer is not None else api.ContainerAdjustment()


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
    adjust = ask(
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
    adjust = ask(carrying(), ContainerEdits(hooks=(*hooks, hooks[0])))
    assert [list(hook.args) for hook in adjust.hooks.prestart] == [["h", "prestart"]] * 2
    sent = adjust.hooks
    for field in (sent.create_runtime, sent.create_container, sent.start_container, sent.poststart, sent.poststop):
        assert [(hook.path, list(hook.env), hook.timeout.value) for hook in field] == [("/bin/h", ["A=1"], 7)]


def test_destinations_that_differ_in_their_spelling_only_are_one() -> None:
    edits = ContainerEdits(mounts=(bind("/s1", "/mnt/v/"), bind("/s2", "//mnt/./v")))
    adjust = ask(carrying(), edits, host=Host(paths=["/s1", "/s2"]))
    assert [(mount.destination, mount.source) for mount in adjust.mounts] == [("//mnt/./v", "/s2")]


def test_a_mount_replaces_the_pods_own_under_the_pods_spelling() -> None:
    container = carrying()
    container.mounts.add(destination="/mnt/v/", source="/pod", options=["rbind"])
    adjust = ask(container, ContainerEdits(mounts=(bind("/s", "/mnt/v"),)), host=Host(paths=["/s"]))
    assert [(mount.destination, mount.source) for mount in adjust.mounts] == [("/mnt/v/", "/s")]
    after = shown_at_start(container, adjust, NRI_2_2)
    assert [(mount.destination, mount.source) for mount in after.mounts] == [("/mnt/v/", "/s")]
    assert broken(after.annotations[MARK], shown(POD, after)) == 0


def test_mounts_that_propagate_go_last() -> None:
    edits = ContainerEdits(
        mounts=(bind("/s", "/1", "rslave"), bind("/s", "/2"), bind("/s", "/3", "rshared"), bind("/s", "/4"))
    )
    adjust = ask(carrying(), edits, host=Host(paths=["/s"]))
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
    (device,) = ask(container, ContainerEdits(device_nodes=(edit,))).linux.devices
    assert (
        device.uid.value if device.HasField("uid") else None,
        device.gid.value if device.HasField("gid") else None,
    ) == owner


def test_what_a_spec_leaves_open_comes_from_the_host() -> None:
    host = Host({"/dev/real": HostNode("b", 8, 3, 0o640)})
    edits = ContainerEdits(device_nodes=(DeviceNode("/dev/x", host_path="/dev/real"),))
    (device,) = ask(carrying(), edits, host=host).linux.devices
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
    adjust = ask(carrying(), ContainerEdits(device_nodes=(node(permissions=permissions),)))
    assert rules(adjust) == ([(False, "c", 10, 1, denied)] if denied else [])


@pytest.mark.parametrize("nri", [NRI_1_7, NRI_2_1])
def test_a_runtime_that_cannot_narrow_permissions_makes_a_refusal_by_name(nri: Version) -> None:
    with pytest.raises(Refused, match="allows only r for the device node /dev/x"):
        ask(carrying(), ContainerEdits(device_nodes=(node(permissions="r"),)), nri=nri)


def test_nodes_with_the_same_numbers_have_the_access_of_all_of_them() -> None:
    """The cgroup knows numbers only: what is denied for one path would be denied for the other."""
    edits = ContainerEdits(device_nodes=(node("/dev/r", permissions="r"), node("/dev/w", permissions="w")))
    adjust = ask(carrying(), edits, nri=NRI_2_1)
    assert (len(adjust.linux.devices), rules(adjust)) == (2, [])


def test_nothing_is_denied_that_the_container_may_do_already() -> None:
    container = carrying()
    container.linux.resources.devices.add(allow=True, type="a", access="rwm")  # privileged
    adjust = ask(container, ContainerEdits(device_nodes=(node(permissions="r"),)), nri=NRI_2_1)
    assert (len(adjust.linux.devices), rules(adjust)) == (1, [])


# -- guards


@pytest.mark.parametrize("nri", VERSIONS.values(), ids=VERSIONS)
def test_the_guard_is_lifted_with_the_injection(nri: Version) -> None:
    container = guarded(carrying())
    adjust = ask(container, ContainerEdits(env=("A=1",)), nri=nri)
    after = {mount.destination: mount.type for mount in shown_at_start(container, adjust, nri).mounts}
    if nri == NRI_1_7:  # it takes no mount away: a cover lies on the parent
        assert after[GUARD_ROOT] == "tmpfs"
    else:
        assert after == {}


def test_a_guard_without_its_parent_is_left_alone() -> None:
    container = guarded(carrying())
    del container.mounts[0]
    assert not ask(container, ContainerEdits(env=("A=1",))).mounts


def test_a_container_that_has_everything_but_the_mark_gets_the_mark_and_its_guard_lifted() -> None:
    container = guarded(carrying())
    container.env.append("A=1")
    adjust = ask(container, ContainerEdits(env=("A=1",)))
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
    assert ask(container, NATIVE, nri=nri) == api.ContainerAdjustment()


def test_a_hook_that_the_spec_has_twice_and_the_container_once_is_sent_once() -> None:
    container = by_the_runtime(carrying(FOREIGN), NATIVE)
    del container.hooks.create_container[0]
    assert len(ask(container, NATIVE).hooks.create_container) == 1


@pytest.mark.parametrize(
    "member",
    [
        ContainerEdits(device_nodes=(node(),), additional_gids=(44,)),
        ContainerEdits(hooks=NATIVE.hooks, additional_gids=(44,)),
    ],
)
def test_what_nri_has_no_field_for_is_no_matter_where_the_runtimes_own_cdi_did_it(member: ContainerEdits) -> None:
    assert ask(by_the_runtime(carrying(FOREIGN), member), member, nri=NRI_2_1) == api.ContainerAdjustment()


def test_groups_that_the_runtime_shows_are_there() -> None:
    container = carrying(FOREIGN)
    container.user.additional_gids.extend([44, 107])
    assert ask(container, ContainerEdits(env=("A=1",), additional_gids=(0, 44))).env


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
        ask(container, edits)


# -- properties over arbitrary edits

# pools, so that an example is quick to draw
MOUNTS = [
    Mount(source, place, ("bind", *options))
    for source in ("/s1", "/s2")
    for place in ("/m", "/m/", "//m", "/m/x", "/m/x/../y")
    for options in ((), ("ro",), ("rslave", "nosuid"))
]
HOOKS = [
    Hook(kind, "/bin/h", args, (), timeout)
    for kind in ("prestart", "poststop")
    for args in ((), ("h",))
    for timeout in (None, 3)
]
NODES = [
    DeviceNode(path, type=kind, major=10, minor=minor, permissions=permissions, file_mode=mode, uid=uid)
    for path in ("/dev/x", "/dev/y")
    for kind in "bc"
    for minor in (1, 2)
    for permissions in ("", "rw", "rwm", "r", "w", "none")
    for mode in (None, 0o600)
    for uid in (None, 0)
]
VARIABLES = [f"{name}={value}" for name in "AB" for value in ("1", "2=3", "")]


def some(pool: Sequence[T], most: int) -> st.SearchStrategy[tuple[T, ...]]:
    return st.lists(st.sampled_from(pool), max_size=most).map(tuple)


def edits(nri: Version) -> st.SearchStrategy[ContainerEdits]:
    """Edits that can be expressed on a runtime with this NRI."""
    nodes = NODES if nri >= NRI_2_2 else [node for node in NODES if node.permissions in {"", "rw", "rwm"}]
    return st.builds(
        ContainerEdits,
        env=some(VARIABLES, 3),
        device_nodes=some(nodes, 3),
        mounts=some(MOUNTS, 3),
        hooks=some(HOOKS, 2),
    )


Case = tuple[tuple[ContainerEdits, ContainerEdits, ContainerEdits], Version]
cases: st.SearchStrategy[Case] = st.one_of(
    [st.tuples(st.tuples(of_nri, of_nri, of_nri), st.just(nri)) for nri in VERSIONS.values() for of_nri in [edits(nri)]]
)


@st.composite
def containers(draw: st.DrawFn) -> api.Container:
    """Containers of ours, guarded, that have one thing or another already."""
    container = guarded(carrying(KEY, "a", "b"))
    container.annotations[FOREIGN] = f"{KIND}=c"
    for mount in draw(st.lists(st.sampled_from(MOUNTS), max_size=2, unique_by=lambda mount: mount.container_path)):
        container.mounts.add(destination=mount.container_path, source=mount.host_path, options=mount.options)
    container.env.extend(draw(st.lists(st.sampled_from(["A=1", "C=2"]), unique=True, max_size=2)))
    for device in draw(
        st.lists(
            st.sampled_from([node for node in NODES if node.permissions in {"", "r", "w", "rw"}]),
            max_size=2,
            unique_by=lambda device: device.path,
        )
    ):
        container.linux.devices.add(path=device.path, type=device.type, major=device.major, minor=device.minor)
        rule = container.linux.resources.devices.add(allow=True, type=device.type, access=device.permissions)
        rule.major.value, rule.minor.value = device.major, device.minor
    container.user.uid = draw(st.sampled_from([0, 1000]))
    return container


def sent(container: api.Container, case: Case) -> api.ContainerAdjustment:
    devices, nri = case
    return ask(container, *devices, nri=nri, host=Host(paths=["/s1", "/s2"]))


def plain(mounts: Iterable[api.Mount]) -> set[tuple[str, ...]]:
    return {(mount.destination, mount.source, mount.type, *sorted(mount.options)) for mount in mounts}


@settings(max_examples=40)
@given(containers(), cases)
def test_no_adjustment_names_a_thing_twice_or_sends_what_the_container_has(
    container: api.Container, case: Case
) -> None:
    adjust = sent(container, case)
    shown_at_start(container, adjust, case[1])  # raises Conflict over what is named twice
    assert not {f"{entry.key}={entry.value}" for entry in adjust.env} & set(container.env)
    assert not plain(adjust.mounts) & plain(container.mounts)


@settings(max_examples=40)
@given(containers(), cases)
def test_the_mark_of_what_was_sent_fits_the_container_that_the_runtime_makes(
    container: api.Container, case: Case
) -> None:
    after = shown_at_start(container, sent(container, case), case[1])
    assert broken(after.annotations[MARK], shown(POD, after)) == 0
    injector(None).state_change(Event.START_CONTAINER, POD, after)  # does not raise


@settings(max_examples=40)
@given(containers(), cases)
def test_a_second_instance_that_is_shown_the_firsts_result_sends_nothing(container: api.Container, case: Case) -> None:
    second = shown_to_next(container, sent(container, case))
    if case[1] < NRI_2_1:
        assert any(mount.destination == GUARD_ROOT and mount.type == "tmpfs" for mount in second.mounts)
    assert sent(second, case) == api.ContainerAdjustment()


def test_a_second_instance_sends_nothing_for_foreign_keys_either() -> None:
    edits = ContainerEdits(device_nodes=(node(), node("/dev/ro", minor=2, permissions="r")), env=("A=1",))
    container = carrying(FOREIGN)
    assert ask(shown_to_next(container, ask(container, edits)), edits) == api.ContainerAdjustment()


Change = Callable[[], object]


@settings(max_examples=40)
@given(containers(), cases, st.data())
def test_the_mark_breaks_with_any_one_thing_that_is_taken_away_or_changed(
    container: api.Container, case: Case, data: st.DataObject
) -> None:
    container.annotations.clear()
    container.annotations[KEY] = f"{KIND}=a"
    after = shown_at_start(container, sent(container, case), case[1])
    promised = case[0][0]
    names = {entry.partition("=")[0] for entry in promised.env}
    variables = [at for at, entry in enumerate(after.env) if entry.partition("=")[0] in names]
    places = {clean(mount.container_path) for mount in promised.mounts}
    mounted = [at for at, mount in enumerate(after.mounts) if clean(mount.destination) in places]
    # the container may have had such a mount under another spelling before: then taking one away is no harm
    assume(len(mounted) == len(places))
    paths = {device.path for device in promised.device_nodes}
    made = [at for at, device in enumerate(after.linux.devices) if device.path in paths]
    lists = {"prestart": after.hooks.prestart, "poststop": after.hooks.poststop}
    changes: list[Change] = [
        *(partial(after.env.pop, at) for at in variables),
        *(partial(after.env.__setitem__, at, after.env[at] + "x") for at in variables),
        *(partial(after.mounts.pop, at) for at in mounted),
        *(partial(setattr, after.mounts[at], "source", "/other") for at in mounted),
        *(partial(after.mounts[at].options.append, "exec") for at in mounted),
        *(partial(after.linux.devices.pop, at) for at in made),
        *(partial(setattr, after.linux.devices[at], "minor", 9) for at in made),
        *(partial(lists[hook.hook_name].__delitem__, slice(None)) for hook in promised.hooks),
    ]
    assume(changes)
    data.draw(st.sampled_from(changes))()
    assert broken(after.annotations[MARK], shown(POD, after)) > 0


def test_the_mark_breaks_when_the_access_of_a_node_is_taken_away() -> None:
    container = carrying()
    after = shown_at_start(container, ask(container, ContainerEdits(device_nodes=(node(),))), NRI_2_2)
    rule = after.linux.resources.devices.add(allow=False, type="c", access="w")
    rule.major.value, rule.minor.value = 10, 1
    assert broken(after.annotations[MARK], shown(POD, after)) == 1


def test_the_model_of_nri_knows_a_conflict() -> None:
    with pytest.raises(Conflict):
        shown_to_next(api.Container(), api.ContainerAdjustment(env=[api.KeyValue(key="A"), api.KeyValue(key="A")]))
