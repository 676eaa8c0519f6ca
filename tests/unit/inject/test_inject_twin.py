"""Do no harm: whatever of ours is broken, a container without a key is answered with an empty success, and one with a key with an error.

Each case breaks something and asks through the whole stack: socket, session, dispatch, plugin.
"""

from __future__ import annotations

import pathlib
import tempfile
import threading
from typing import TYPE_CHECKING, NoReturn

import pytest

from nri_cdi.allocation import guard_destinations, key_name
from nri_cdi.cdi import ContainerEdits, DeviceNode, HostNode
from nri_cdi.inject import plugin as module
from nri_cdi.nri import Event, Runner, api
from nri_cdi.testing.containers import Host, injector, snapshot
from nri_cdi.testing.runtime import FakeRuntime
from nri_cdi.ttrpc import Code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nri_cdi.inject import InjectPlugin
    from nri_cdi.testing.runtime import PluginLink

    Break = Callable[[InjectPlugin, pytest.MonkeyPatch], None]

PREFIX = "cdi.k8s.io/"
NAME = key_name(bytes(16))
NODE = snapshot({"a": ContainerEdits(device_nodes=(DeviceNode("/dev/x"),))})


def fails(*_: object, **__: object) -> NoReturn:
    raise RuntimeError("broken")


def recurses(*_: object, **__: object) -> NoReturn:
    raise RecursionError("maximum recursion depth exceeded")


def exits(*_: object, **__: object) -> NoReturn:
    raise SystemExit(1)


class DeadHost(Host):
    def device_node(self, path: str) -> HostNode:
        raise OSError(5, "Input/output error", path)


def unspeakable(plugin: InjectPlugin, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(module, "decide", fails)
    patch.setattr(plugin, "_internal", fails)


BREAKS: dict[str, Break] = {
    "the specs cannot be had": lambda plugin, patch: patch.setattr(plugin, "_current", fails),
    "the specs never settle": lambda plugin, patch: patch.setattr(plugin, "_current", lambda _patience: None),
    "there are no specs": lambda plugin, patch: patch.setattr(plugin, "_current", lambda _patience: snapshot({})),
    "the specs are no snapshot": lambda plugin, patch: patch.setattr(plugin, "_current", lambda _patience: object()),
    "the host's files cannot be looked at": lambda plugin, patch: patch.setattr(plugin, "_host", DeadHost()),
    "there is no host": lambda plugin, patch: patch.setattr(plugin, "_host", None),
    "the request cannot be read": lambda _plugin, patch: patch.setattr(module, "shown", fails),
    "the keys cannot be read": lambda _plugin, patch: patch.setattr(module, "keys", recurses),
    "the decision fails": lambda _plugin, patch: patch.setattr(module, "decide", fails),
    "the decision goes round and round": lambda _plugin, patch: patch.setattr(module, "decide", recurses),
    "the decision ends the thread": lambda _plugin, patch: patch.setattr(module, "decide", exits),
    "the adjustment fails": lambda _plugin, patch: patch.setattr(module, "adjustment", fails),
    "even the text of the bug fails": unspeakable,
}

OURS = {
    "an allocation": api.Container(name="c", annotations={PREFIX + NAME: "vendor.com/dev=a"}),
    "a foreign key": api.Container(name="c", annotations={f"{PREFIX}x": "vendor.com/dev=a"}),
}
NOT_OURS = {
    "a plain container": api.Container(name="c", env=["A=1"], annotations={"a": "b"}),
    "the prefix where it means nothing": api.Container(
        name="c", env=[f"A={PREFIX}{NAME}"], labels={f"{PREFIX}x": "y"}, args=[guard_destinations(NAME)[1]]
    ),
    "an annotation that only mentions a key": api.Container(annotations={"note": f"{PREFIX}{NAME}"}),
}
POD = api.PodSandbox(name="p", namespace="ns", annotations={f"{PREFIX}of-the-pod": "vendor.com/dev=a"})


@pytest.fixture(params=["1.7.24", "2.4.2"])
def runtime(request: pytest.FixtureRequest) -> Iterator[FakeRuntime]:
    """Before and after events have RPCs of their own; in a short directory, because of the length of socket paths."""
    with (
        tempfile.TemporaryDirectory(prefix="tw-") as directory,
        FakeRuntime(pathlib.Path(directory, "s"), request.param) as fake,
    ):
        yield fake


@pytest.fixture
def plugin() -> InjectPlugin:
    return injector(NODE, host=Host({"/dev/x": HostNode("c", 10, 1, 0o600)}))


@pytest.fixture
def link(runtime: FakeRuntime, plugin: InjectPlugin) -> Iterator[PluginLink]:
    runner = Runner(plugin, str(runtime.path), "nri-cdi", "10")
    thread = threading.Thread(target=runner.run)
    thread.start()
    try:
        yield runtime.connect()
    finally:
        runner.stop()
        runtime.close()
        thread.join(10)
        assert not thread.is_alive()


def answers(link: PluginLink, event: Event, container: api.Container) -> list[tuple[bytes | None, int]]:
    streams = [link.begin(*link.encoded(event, POD, container))]
    if event is not Event.CREATE_CONTAINER:
        streams.append(link.begin(*link.encoded(event, POD, container, "state-change")))
    return [(answer.payload, answer.status.code) for answer in map(link.wait, streams)]


@pytest.mark.parametrize("breaks", BREAKS.values(), ids=BREAKS)
def test_a_container_without_a_key_passes_and_one_with_a_key_is_refused_whatever_is_broken(
    breaks: Break, link: PluginLink, plugin: InjectPlugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks(plugin, monkeypatch)
    for event in (Event.CREATE_CONTAINER, Event.START_CONTAINER):
        for container in NOT_OURS.values():
            assert set(answers(link, event, container)) == {(b"", Code.OK)}
    for container in OURS.values():
        ((payload, code),) = answers(link, Event.CREATE_CONTAINER, container)
        assert payload is None
        assert code != Code.OK
    for payload, code in answers(link, Event.START_CONTAINER, OURS["an allocation"]):  # it has no mark
        assert payload is None
        assert code != Code.OK


def test_unbroken_it_injects_into_the_one_and_passes_the_other(link: PluginLink) -> None:
    for container in OURS.values():
        adjusted = link.create_container(POD, container)
        assert [device.path for device in adjusted.adjust.linux.devices] == ["/dev/x"]
    for container in NOT_OURS.values():
        assert answers(link, Event.CREATE_CONTAINER, container) == [(b"", Code.OK)]


def test_a_request_that_does_not_decode_passes_without_a_key_and_is_refused_with_one(link: PluginLink) -> None:
    good = api.CreateContainerRequest(pod=POD, container=OURS["an allocation"]).SerializeToString()
    answer = link.wait(link.begin("CreateContainer", b"\x12\x04\x32\x02\xff\xff"))
    assert (answer.payload, answer.status.code) == (b"", Code.OK)
    answer = link.wait(link.begin("CreateContainer", good[:-1]))
    assert answer.payload is None
    assert answer.status.code != Code.OK
