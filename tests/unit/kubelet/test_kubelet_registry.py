"""Registration by a socket in plugins_registry: the state table, and a kubelet that watches the directory."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from nri_cdi.host.numa import Sysfs
from nri_cdi.host.root import HostRoot
from nri_cdi.kubelet.directories import Directories
from nri_cdi.kubelet.inventory import Patience
from nri_cdi.kubelet.keeper import Node
from nri_cdi.kubelet.registry_standing import (
    NUDGE,
    RegistryStanding,
    binding,
    bound,
    decide,
    failed,
    notified,
)
from nri_cdi.kubelet.service import Config, KubeletHalf
from nri_cdi.kubelet.standing import (
    BIND_RETRY,
    QUICK,
    RETRY_FIRST,
    RETRY_MAX,
    SETTLE,
    STREAM_PATIENCE,
    Counted,
    Own,
    Step,
    Streams,
)
from nri_cdi.testing.kubelet import FakeKubelet
from nri_cdi.testing.snapshots import snapshot, spec_file

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Iterator

    from nri_cdi.testing.log import Log

GPU, NIC = "device.example.com/gpu", "vendor.com/nic"
SOON = 20.0
BOUND = bound(RegistryStanding(), Streams(), 100.0)
WELL = notified(BOUND, registered=True, now=100.1)


@pytest.mark.parametrize(
    ("standing", "own", "streams", "now", "step", "until"),
    [
        pytest.param(RegistryStanding(), Own.NO_DIRECTORY, Streams(), 1, Step.WAIT, None, id="no directory"),
        pytest.param(RegistryStanding(), Own.GONE, Streams(), 1, Step.BIND, None, id="a new socket"),
        pytest.param(RegistryStanding(), Own.TAKEN, Streams(), 1, Step.BIND, None, id="an older instance is replaced"),
        pytest.param(
            failed(RegistryStanding(), 1), Own.GONE, Streams(), 1, Step.WAIT, 1 + BIND_RETRY, id="not at once again"
        ),
        pytest.param(BOUND, Own.TAKEN, Streams(), 101, Step.WAIT, None, id="a newer instance is let be"),
        pytest.param(WELL, Own.GONE, Streams(open=1), 101, Step.BIND, None, id="the socket was removed"),
        pytest.param(WELL, Own.OURS, Streams(open=1), 999, Step.WAIT, None, id="all is well"),
        pytest.param(WELL, Own.OURS, Streams(0, 1, 200), 200, Step.WAIT, 200 + SETTLE, id="the stream has just ended"),
        pytest.param(WELL, Own.OURS, Streams(0, 1, 200), 200 + SETTLE, Step.BIND, None, id="the stream ended"),
        pytest.param(
            replace(WELL, not_before=205.0), Own.OURS, Streams(0, 1, 200), 201, Step.WAIT, 205, id="a quarrel"
        ),
        pytest.param(BOUND, Own.OURS, Streams(), 101, Step.WAIT, 100 + NUDGE, id="nobody has come"),
        pytest.param(BOUND, Own.OURS, Streams(), 100 + NUDGE, Step.BIND, None, id="nobody came"),
        pytest.param(
            notified(BOUND, registered=False, now=101),
            Own.OURS,
            Streams(),
            101,
            Step.WAIT,
            101 + RETRY_FIRST,
            id="refused",
        ),
        pytest.param(
            notified(BOUND, registered=False, now=101), Own.OURS, Streams(), 102, Step.BIND, None, id="tried again"
        ),
    ],
)
def test_what_a_plugin_in_plugins_registry_does_next(
    standing: RegistryStanding, own: Own, streams: Streams, now: float, step: Step, until: float | None
) -> None:
    decision = decide(standing, own, streams, now)
    assert (decision.step, decision.until) == (step, until)


def test_another_plugin_that_registered_later_is_let_be_and_followed_when_it_has_ended() -> None:
    streams = Streams(open=1)
    assert decide(WELL, Own.OURS, streams, 999, Counted.THEIRS).step is Step.WAIT
    assert decide(WELL, Own.OURS, streams, 101, Counted.NOBODYS).until == 100 + STREAM_PATIENCE
    assert decide(WELL, Own.OURS, streams, 999, Counted.NOBODYS).step is Step.BIND


def test_refusals_in_a_row_are_tried_again_ever_more_slowly_and_one_success_ends_that() -> None:
    standing, now, pauses = BOUND, 100.0, []
    for _ in range(12):
        standing = notified(standing, registered=False, now=now)
        pauses.append(standing.not_before - now)
        now = standing.not_before
        standing = bound(binding(standing), Streams(), now)
    assert pauses == pytest.approx(sorted(pauses))
    assert (pauses[0], pauses[-1]) == pytest.approx((RETRY_FIRST, RETRY_MAX))
    assert notified(standing, registered=True, now=now).failures == 0


def test_streams_that_end_again_and_again_slow_us_down_until_a_kubelet_comes_that_stays() -> None:
    standing, now, pauses = WELL, 200.0, []
    for ended in range(1, 16):
        streams = Streams(0, ended, now)
        before = now
        while (decision := decide(standing, Own.OURS, streams, now)).step is Step.WAIT:
            assert decision.until is not None
            now = decision.until
        pauses.append(round(now - before, 3))
        standing = notified(bound(binding(standing), streams, now), registered=True, now=now)
    assert pauses == [SETTLE] * 4 + [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4] + [RETRY_MAX] * 4
    moment = standing.not_before + QUICK
    assert notified(standing, registered=True, now=moment - 0.1).quick == standing.quick
    assert notified(standing, registered=True, now=moment).quick == 0
    assert bound(standing, Streams(0, 16, moment), moment).not_before == moment


@pytest.fixture
def registry(device_plugins: pathlib.Path) -> pathlib.Path:
    path = device_plugins.parent / "plugins_registry"
    path.mkdir()
    return path


@pytest.fixture
def kubelet(device_plugins: pathlib.Path, registry: pathlib.Path) -> Iterator[FakeKubelet]:
    with FakeKubelet(device_plugins, registry=registry) as kubelet:
        yield kubelet


@pytest.fixture
def make(device_plugins: pathlib.Path) -> Iterator[Callable[..., KubeletHalf]]:
    with contextlib.ExitStack() as stack:

        def make(gpus: int = 4, nics: int = 0) -> KubeletHalf:
            failed: list[str] = []
            kinds = {GPU: GPU, NIC: NIC}
            directories = Directories.below(device_plugins.parent)
            config = Config(kinds, directories, "x/", registry=True, patience=Patience(0.0, 0.0))
            half = KubeletHalf(config, Node(HostRoot(), Sysfs()), ready=lambda _: None, fatal=failed.append)
            stack.callback(lambda: pytest.fail(str(failed)) if failed else None)
            stack.callback(half.stop)
            half.start()
            files = [(GPU, [f"d{i}" for i in range(gpus)]), (NIC, [f"n{i}" for i in range(nics)])]
            half.update(snapshot(*(spec_file(kind, names) for kind, names in files if names)))
            return half

        yield make


def until(condition: Callable[[], bool]) -> None:
    """Waits for what nobody tells of: the kubelet notifies after it follows the list."""
    pause = threading.Event()
    for _ in range(200):
        if condition():
            return
        pause.wait(0.1)
    raise AssertionError("not within 20 s")


def has(kubelet: FakeKubelet, count: int, resource: str = GPU) -> None:
    kubelet.wait_for(lambda: kubelet.allocatable(resource) == count, SOON)


def test_the_kubelet_finds_each_resource_by_its_socket_and_nothing_is_at_kubelet_sock(
    make: Callable[..., KubeletHalf],
    kubelet: FakeKubelet,
    registry: pathlib.Path,
    device_plugins: pathlib.Path,
    log: Log,
) -> None:
    half = make(4, 2)
    has(kubelet, 4)
    has(kubelet, 2, NIC)
    log.wait_for("registered with the kubelet (it found our socket)", 2)
    until(lambda: half.registered == {GPU: True, NIC: True})
    assert {path.name for path in registry.iterdir()} == {
        "nri-cdi_device.example.com_gpu.sock",
        "nri-cdi_vendor.com_nic.sock",
    }
    assert [path.name for path in device_plugins.iterdir() if path.is_socket()] == ["kubelet.sock"]
    assert kubelet.allocate(GPU, 2).ids == ("d0", "d1")


def test_a_kubelet_that_restarts_comes_back_by_itself(make: Callable[..., KubeletHalf], kubelet: FakeKubelet) -> None:
    half = make()
    has(kubelet, 4)
    for _ in range(3):
        kubelet.restart()
        has(kubelet, 4)
    until(lambda: half.registered[GPU])
    assert kubelet.allocate(GPU, 1).ids == ("d0",)


def test_a_kubelet_that_comes_again_because_our_socket_was_lost_is_not_a_new_one(
    make: Callable[..., KubeletHalf], kubelet: FakeKubelet, registry: pathlib.Path, log: Log
) -> None:
    half = make()
    has(kubelet, 4)
    (since,) = half._starts()
    assert since > 0
    next(registry.iterdir()).unlink()
    log.wait_for("the old socket is gone")
    kubelet.wait_for(lambda: len(kubelet.registrations) > 1, SOON)
    assert list(half._starts()) == [since]
    kubelet.restart()
    until(lambda: next(iter(half._starts())) > since)


def test_when_an_older_instance_ends_the_newer_one_is_found_again(
    make: Callable[..., KubeletHalf], kubelet: FakeKubelet, log: Log
) -> None:
    older = make()
    has(kubelet, 4)
    newer = make(3)
    log.wait_for("another instance serves this resource now")
    has(kubelet, 3)
    older.stop()
    kubelet.wait_for(lambda: kubelet.allocatable(GPU) == 3 and kubelet.streams(GPU) == 1, SOON)
    until(lambda: newer.registered[GPU])


def test_stopping_takes_the_socket_away_and_the_kubelet_has_nothing_to_allocate(
    make: Callable[..., KubeletHalf], kubelet: FakeKubelet, registry: pathlib.Path
) -> None:
    half = make()
    has(kubelet, 4)
    half.stop()
    has(kubelet, 0)
    assert list(registry.iterdir()) == []
