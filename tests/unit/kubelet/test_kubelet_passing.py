"""What passes ends nothing: a kubelet that ends our stream again and again, and moments in which nothing can be seen; each is said once."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

import pytest
from lab.trouble import wait_until

from nri_cdi.host.numa import Sysfs
from nri_cdi.host.root import HostRoot
from nri_cdi.kubelet import registration, standing
from nri_cdi.kubelet.directories import Directories
from nri_cdi.kubelet.inventory import Patience
from nri_cdi.kubelet.keeper import Node
from nri_cdi.kubelet.service import Config, KubeletHalf
from nri_cdi.kubelet.sockets import connect_problem
from nri_cdi.testing.kubelet import FakeKubelet
from nri_cdi.testing.plugin_client import PluginClient
from nri_cdi.testing.snapshots import snapshot, spec_file

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Iterator

    from nri_cdi.kubelet import api
    from nri_cdi.testing.log import Log

GPU = "device.example.com/gpu"
SOON = 20.0
UNSEEN = "how it stands with the kubelet cannot be seen now"


@pytest.fixture
def make(device_plugins: pathlib.Path) -> Iterator[Callable[..., KubeletHalf]]:
    """Makes halves and stops them in the end; none of their threads may have ended on its own."""
    with contextlib.ExitStack() as stack:

        def make(*, registry: bool = False) -> KubeletHalf:
            fatal: list[str] = []
            directories = Directories.below(device_plugins.parent)
            directories.plugins_registry.mkdir(exist_ok=True)
            config = Config({GPU: GPU}, directories, "x/", registry=registry, patience=Patience(0.0, 0.0))
            half = KubeletHalf(config, Node(HostRoot(), Sysfs()), ready=lambda _: None, fatal=fatal.append)
            stack.callback(lambda: pytest.fail(str(fatal)) if fatal else None)
            stack.callback(half.stop)
            half.start()
            half.update(snapshot(spec_file(GPU, ["d0"])))
            return half

        yield make


@pytest.mark.parametrize("registry", [False, True])
def test_a_kubelet_that_ends_every_stream_at_once_is_registered_with_ever_more_slowly_and_that_is_said_once(
    make: Callable[..., KubeletHalf],
    device_plugins: pathlib.Path,
    log: Log,
    monkeypatch: pytest.MonkeyPatch,
    *,
    registry: bool,
) -> None:
    whole = PluginClient.lists

    def ended(self: PluginClient) -> Iterator[list[api.Device]]:
        yield next(whole(self))
        self.close()

    monkeypatch.setattr(PluginClient, "lists", ended)
    plugins_registry = device_plugins.parent / "plugins_registry"
    plugins_registry.mkdir()
    with FakeKubelet(device_plugins, registry=plugins_registry if registry else None) as kubelet:
        make(registry=registry)
        free = standing.QUICK_FREE + 1
        kubelet.wait_for(lambda: len(kubelet.registrations) > free, SOON)
        log.wait_for(standing.QUARREL)
        said = len(log.lines)
        kubelet.wait_for(lambda: len(kubelet.registrations) > free + 3, SOON)
        assert log.lines[said:] == []
        monkeypatch.undo()
        kubelet.wait_for(lambda: kubelet.allocatable(GPU) == 1, SOON)


def test_without_a_file_descriptor_for_a_look_at_the_kubelet_we_look_again_and_say_so_once(
    make: Callable[..., KubeletHalf], device_plugins: pathlib.Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = [OSError(errno.EMFILE, os.strerror(errno.EMFILE)) for _ in range(3)]

    def scarce(path: pathlib.Path) -> str | None:
        if refusals:
            raise refusals.pop()
        return connect_problem(path)

    monkeypatch.setattr(registration, "connect_problem", scarce)
    with FakeKubelet(device_plugins) as kubelet:
        half = make()
        kubelet.wait_for(lambda: kubelet.allocatable(GPU) == 1, SOON)
        wait_until(lambda: half.registered == {GPU: True}, SOON, "what Register answered, to be noted")
        assert (len(refusals), log.count(UNSEEN)) == (0, 1)


def test_a_directory_that_cannot_be_seen_for_a_while_is_looked_at_until_it_can(
    make: Callable[..., KubeletHalf], device_plugins: pathlib.Path, log: Log
) -> None:
    with FakeKubelet(device_plugins) as kubelet:
        half = make()
        wait_until(lambda: half.registered == {GPU: True}, SOON, "the registration")
        aside = device_plugins.with_name("aside")
        device_plugins.rename(aside)
        device_plugins.symlink_to(device_plugins)
        log.wait_for(f"{UNSEEN}: [Errno {errno.ELOOP}]")
        device_plugins.unlink()
        aside.rename(device_plugins)
        next(device_plugins.glob("nri-cdi_*.sock")).unlink()
        kubelet.wait_for(lambda: len(kubelet.registrations) > 1, SOON)
        assert log.count(UNSEEN) == 1
