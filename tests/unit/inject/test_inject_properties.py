"""Over arbitrary edits and containers: nothing twice, nothing that is there, a second instance idle, and the mark proves what was sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nri_cdi.allocation import GUARD_ROOT
from nri_cdi.cdi import ContainerEdits, DeviceNode, Hook, Mount
from nri_cdi.cdi.paths import clean
from nri_cdi.inject.marks import broken
from nri_cdi.inject.request import shown
from nri_cdi.nri import Event, Version, api
from nri_cdi.testing.containers import (
    FOREIGN,
    KEY,
    KIND,
    MARK,
    NRI_2_1,
    NRI_2_2,
    POD,
    VERSIONS,
    Conflict,
    Host,
    adjusted,
    carrying,
    guarded,
    injector,
    shown_at_start,
    shown_to_next,
)

T = TypeVar("T")

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
    return adjusted(container, *devices, nri=nri, host=Host(paths=["/s1", "/s2"]))


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


def test_the_model_of_nri_knows_a_conflict() -> None:
    with pytest.raises(Conflict):
        shown_to_next(api.Container(), api.ContainerAdjustment(env=[api.KeyValue(key="A"), api.KeyValue(key="A")]))
