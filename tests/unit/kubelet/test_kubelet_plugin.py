"""One plugin, asked as the kubelet asks it."""

from __future__ import annotations

import functools
import gc
import logging
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from lab.trouble import wait_until

from nri_cdi.kubelet import checks
from nri_cdi.kubelet import plugin as module
from nri_cdi.kubelet.checks import CHECKS
from nri_cdi.kubelet.plugin import SENTENCE_MAX, Answers, CannotServe, DevicePlugin
from nri_cdi.kubelet.told import Device, Resource
from nri_cdi.testing.plugin_client import PluginClient, PluginError

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Iterator

    from nri_cdi.kubelet.plugin import Ready

GPU = "device.example.com/gpu"
SOON = 20.0


def gpus(*ids: str) -> Resource:
    return Resource(GPU, GPU, tuple(Device(device, f"{GPU}={device}") for device in ids))


def _refused_with(sentence: str, _: tuple[str, ...]) -> str | None:
    return sentence


def fine(_: tuple[str, ...]) -> str | None:
    return None


@pytest.fixture
def connect(device_plugins: pathlib.Path) -> Iterator[Callable[[Ready], PluginClient]]:
    """Serves a plugin with this check and connects to it."""
    plugins: list[DevicePlugin] = []
    clients: list[PluginClient] = []

    def connect(ready: Ready) -> PluginClient:
        plugins.append(DevicePlugin(gpus("d0"), device_plugins, Answers("p/", guard=True, ready=ready), lambda: None))
        plugins[-1].bind()
        clients.append(PluginClient.dial(GPU, plugins[-1].path, SOON))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()
    for plugin in plugins:
        plugin.close()


def test_the_options_ask_for_all_calls(connect: Callable[[Ready], PluginClient]) -> None:
    options = connect(fine).options
    assert options.pre_start_required
    assert options.get_preferred_allocation_available


def test_allocate_promises_ids_that_nobody_knows_by_their_qualified_names(
    connect: Callable[[Ready], PluginClient],
) -> None:
    client = connect(fine)
    for ids in (["nosuch"], ["a b", "é", "", "d" * 70], ["d0", "nosuch"]):
        response = client.allocate(ids, SOON)
        (value,) = response.annotations.values()
        assert set(value.split(",")) == {f"{GPU}={device}" for device in ids}
        assert len(response.mounts) == 2


def test_two_allocations_of_the_same_devices_have_different_keys(connect: Callable[[Ready], PluginClient]) -> None:
    client = connect(fine)
    first, second = (client.allocate(["d0"], SOON) for _ in range(2))
    assert set(first.annotations).isdisjoint(second.annotations)


def test_a_preference_for_more_than_there_is_is_all_there_is(connect: Callable[[Ready], PluginClient]) -> None:
    assert connect(fine).preferred(["d10", "d9"], 5, SOON) == ("d9", "d10")


def test_a_start_is_allowed_or_refused_verbatim_by_the_check_of_its_qualified_names(
    connect: Callable[[Ready], PluginClient],
) -> None:
    asked: list[tuple[str, ...]] = []

    def ready(names: tuple[str, ...]) -> str | None:
        asked.append(names)
        return None if len(asked) == 1 else f"{names[0]} is not in /etc/cdi:\ninstall its spéc, 100 %"

    client = connect(ready)
    client.pre_start(["d10", "d9"], SOON)
    with pytest.raises(PluginError) as refused:
        client.pre_start(["d9"], SOON)
    assert str(refused.value) == (
        f"rpc error: code = FailedPrecondition desc = {GPU}=d9 is not in /etc/cdi:\ninstall its spéc, 100 %"
    )
    assert asked == [(f"{GPU}=d9", f"{GPU}=d10"), (f"{GPU}=d9",)]


def test_a_sentence_that_is_too_long_for_a_header_is_cut(connect: Callable[[Ready], PluginClient]) -> None:
    for letter in "xü":
        client = connect(functools.partial(_refused_with, letter * 100_000))
        with pytest.raises(PluginError, match="code = FailedPrecondition") as refused:
            client.pre_start(["d0"], SOON)
        assert str(refused.value).count(letter) * len(letter.encode()) == SENTENCE_MAX


def test_a_check_that_breaks_refuses_the_start_with_what_broke(
    connect: Callable[[Ready], PluginClient], caplog: pytest.LogCaptureFixture
) -> None:
    def ready(_: tuple[str, ...]) -> str | None:
        raise ConnectionError("nobody there")

    client = connect(ready)
    with caplog.at_level(logging.ERROR, "nri_cdi.kubelet"), pytest.raises(PluginError) as refused:
        client.pre_start(["d0"], SOON)
    assert str(refused.value) == (
        "rpc error: code = FailedPrecondition desc = nri-cdi could not check the devices "
        f"{GPU}=d0: ConnectionError: nobody there"
    )
    assert [record.getMessage() for record in caplog.records] == [f"{GPU}: the check before a container's start failed"]


def test_checks_that_all_hang_delay_neither_allocate_nor_a_new_list(
    connect: Callable[[Ready], PluginClient],
) -> None:
    begun, release = threading.Semaphore(0), threading.Event()

    def ready(_: tuple[str, ...]) -> str | None:
        begun.release()
        release.wait(SOON)
        return None

    client = connect(ready)
    with ThreadPoolExecutor(CHECKS) as pool:
        hanging = [pool.submit(client.pre_start, [f"d{number}"], SOON) for number in range(CHECKS)]
        try:
            assert all(begun.acquire(timeout=SOON) for _ in range(CHECKS))
            with pytest.raises(
                PluginError, match=f"code = Unavailable desc = nri-cdi checks {CHECKS} other containers"
            ):
                client.pre_start(["d0"], SOON)
            client.allocate(["d0"], SOON)
            lists = [client.lists() for _ in range(4)]
            assert [[(one.ID, one.health) for one in next(each)] for each in lists] == [[("d0", "Healthy")]] * 4
            client.allocate(["d0"], SOON)
        finally:
            release.set()
        assert [check.result(SOON) for check in hanging] == [None] * CHECKS


def test_a_device_whose_look_hangs_is_refused_at_once_and_another_is_checked(
    connect: Callable[[Ready], PluginClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, release = threading.Event(), threading.Event()

    def ready(names: tuple[str, ...]) -> str | None:
        if names == (f"{GPU}=dead",):
            begun.set()
            release.wait(SOON)
        return None

    monkeypatch.setattr(checks, "HANGS", 0.0)
    client = connect(ready)
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(client.pre_start, ["dead"], SOON)
        try:
            assert begun.wait(SOON)
            for _ in range(CHECKS):
                with pytest.raises(
                    PluginError, match=f"{GPU}=dead cannot be looked at: a look that began 0 s ago has not come back"
                ):
                    client.pre_start(["dead"], SOON)
            client.pre_start(["good"], SOON)
        finally:
            release.set()
        hanging.result(SOON)
    client.pre_start(["dead"], SOON)


def test_a_server_that_is_replaced_is_freed_without_the_garbage_collector(
    device_plugins: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools: list[weakref.ref[ThreadPoolExecutor]] = []

    def noted(threads: int, thread_name_prefix: str) -> ThreadPoolExecutor:
        pool = ThreadPoolExecutor(threads, thread_name_prefix)
        pools.append(weakref.ref(pool))
        return pool

    monkeypatch.setattr(module, "ThreadPoolExecutor", noted)
    plugin = DevicePlugin(gpus("d0"), device_plugins, Answers("p/", guard=True, ready=fine), lambda: None)
    gc.disable()
    try:
        for _ in range(3):
            plugin.bind()
            client = PluginClient.dial(GPU, plugin.path, SOON)
            client.pre_start(["d0"], SOON)
            next(client.lists())
            client.close()
            wait_until(lambda: plugin.streams.open == 0, SOON, "the stream's end")
        plugin.close()
        wait_until(lambda: [pool() for pool in pools] == [None] * 3, SOON, "the servers to be freed")
    finally:
        gc.enable()


def test_a_stream_that_has_ended_is_forgotten(device_plugins: pathlib.Path) -> None:
    plugin = DevicePlugin(gpus("d0"), device_plugins, Answers("p/", guard=True, ready=fine), lambda: None)
    plugin.bind()
    assert plugin._listener is not None
    for _ in range(3):
        client = PluginClient.dial(GPU, plugin.path, SOON)
        lists = client.lists()
        next(lists)
        assert len(plugin._listener.streams) == 1
        client.close()
        wait_until(lambda: plugin.streams.open == 0, SOON, "the stream's end")
    assert plugin._listener.streams == set()
    plugin.close()


def test_a_socket_that_grpc_cannot_bind_is_said_with_its_own_path_and_each_time_in_the_same_words(
    device_plugins: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = DevicePlugin(gpus("d0"), device_plugins, Answers("p/", guard=True, ready=fine), lambda: None)
    monkeypatch.setattr(module, "_try_to_bind", lambda path: path.mkdir())  # something comes there in between
    said = set()
    for _ in range(2):
        with pytest.raises(CannotServe, match=f"cannot serve on {plugin.path}: Failed to bind") as refused:
            plugin.bind()
        said.add(str(refused.value))
    assert len(said) == 1
    assert ".nri-cdi." not in said.pop()
    plugin.close()


def test_a_directory_that_cannot_be_seen_does_not_keep_a_plugin_from_closing(device_plugins: pathlib.Path) -> None:
    plugin = DevicePlugin(gpus("d0"), device_plugins, Answers("p/", guard=True, ready=fine), lambda: None)
    plugin.bind()
    device_plugins.rename(device_plugins.with_name("aside"))
    device_plugins.symlink_to(device_plugins)
    with pytest.raises(OSError, match="symbolic links"):
        plugin.own()
    plugin.close()


def test_a_socket_path_that_is_too_long_is_an_error_that_says_what_to_do(device_plugins: pathlib.Path) -> None:
    deep = device_plugins / ("d" * 90)
    with pytest.raises(
        CannotServe, match=r"has \d+ bytes, a unix socket's path has at most 107: name the resource shorter"
    ):
        DevicePlugin(gpus(), deep, Answers("p/", guard=True, ready=fine), lambda: None)
