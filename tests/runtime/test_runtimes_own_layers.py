"""What containerd 2.2 and newer can add: the strict link and its required plugins. Off by default; each is shown alone.

The strict link is event 14 up to NRI 0.12.4, `failure_policy` from 0.12.5 on; `NEXT` is a containerd with that one. These run where $RUNTIMES names a
containerd that is new enough, as it does by default.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lab import mock
from lab.agent import CHECKOUT, Agent
from lab.config import version
from lab.cri import CriError
from lab.fixtures import SERIES
from lab.node import Node
from lab.served import Served, node_spec
from lab.trouble import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.pods import Container

HANGING = Path(__file__).parent / "hanging"
KIND = "trouble.example.com/dev"
ALONE = ("--start-gate", "off", "--deadline", "30")
REQUIRED = {"required-plugins.noderesource.dev": '["nri-cdi"]'}

NEXT = "2.4-nri0.12.5"
FAILED = {NEXT: "plugin 10-nri-cdi failed to handle CreateContainer request: "}
"""What the strict link says of a container within whose creation we fail; else it is what a validator that failed is said to have done."""

NEWER = [series for series in SERIES if version(series) >= (2, 2)]


def on(*wanted: str) -> pytest.MarkDecorator:
    """The series on which a test runs."""
    skip = pytest.mark.skip(reason="no containerd 2.2 or newer in $RUNTIMES (2.4 has it)")
    return pytest.mark.parametrize("series", wanted if NEWER else [pytest.param("", marks=skip)], indirect=True)


ALL = on(*NEWER, NEXT)


@pytest.fixture(scope="module")
def validating(series: str) -> Iterator[Served]:
    """A node whose runtime looks at a pod's own list of required plugins, and has none for all."""
    with Node(series, default_validator={"enable": True}) as node:
        served = Served(node)
        directory = node.path("/dev/trouble")
        directory.mkdir()
        for number, name in enumerate(("hang", "die")):
            os.mknod(directory / name, stat.S_IFCHR | 0o666, os.makedev(mock.MAJOR, 100 + number))
        yield served


@pytest.fixture
def troubled(validating: Served) -> Iterator[Served]:
    spec = node_spec(KIND)
    spec["devices"] = [
        {"name": name, "containerEdits": {"deviceNodes": [{"path": f"/dev/trouble/{name}"}]}}
        for name in ("hang", "die")
    ]
    validating.write_spec("trouble.json", spec)
    yield validating
    validating.tidy()


@contextlib.contextmanager
def agent(served: Served, *flags: str) -> Iterator[Agent]:
    """An NRI half that comes to grief at the devices of KIND, without an own deadline and a start gate."""
    env = {"PYTHONPATH": f"{HANGING}:{CHECKOUT}"}
    since = served.node.log_size()
    nri = Agent(served.node.sandbox, "nri", *served.flags, *ALONE, *flags, env=env)
    try:
        yield nri.wait_ready()
    finally:
        nri.kill()  # in order it would first answer what hangs
        wait_until(lambda: "lost" in (log := served.node.log(since)) or "closed" in log, 5, "the runtime's notice")


def inside(container: Container) -> list[str]:
    assert container.running()
    return container.sh("cd /dev; ls -d trouble/* mock/* 2>/dev/null")[1].split()


@ALL
@pytest.mark.parametrize("trouble", ["hang", "die"])
def test_the_strict_link_alone_refuses_the_container_during_which_we_fail(
    troubled: Served, series: str, trouble: str
) -> None:
    with agent(troubled, "--strict-link", "on"):
        pod = troubled.node.pod()
        with pytest.raises(CriError, match=FAILED.get(series, "validator plugin 10-nri-cdi failed: ")):
            pod.container(extra=troubled.allocation(f"{KIND}={trouble}", guard=False))
        assert pod.container("plain").start().running()


@ALL
@pytest.mark.parametrize("trouble", ["hang", "die"])
def test_without_it_that_container_runs_without_its_devices(troubled: Served, trouble: str) -> None:
    with agent(troubled):
        container = troubled.node.pod().container(extra=troubled.allocation(f"{KIND}={trouble}", guard=False))
        assert inside(container.start()) == []


@on(*NEWER)
def test_the_strict_links_price_is_one_container_of_others_when_we_end_between_two_requests(troubled: Served) -> None:
    with agent(troubled, "--strict-link", "on") as nri:
        pod = troubled.node.pod()
        nri.kill()
        with pytest.raises(CriError, match="validator plugin 10-nri-cdi failed: ttrpc: closed"):
            pod.container("plain")
        assert pod.container("next").start().running()


@on(*NEWER)
def test_a_new_pod_after_our_end_pays_that_price_without_loss(troubled: Served) -> None:
    with agent(troubled, "--strict-link", "on") as nri:
        nri.kill()
        assert troubled.node.pod().container("plain").start().running()


@on(NEXT)
def test_from_nri_0_12_5_on_our_end_between_two_requests_costs_others_nothing(troubled: Served) -> None:
    with agent(troubled, "--strict-link", "on") as nri:
        pod = troubled.node.pod()
        nri.kill()
        assert pod.container("plain").start().running()


@ALL
def test_the_strict_links_price_is_one_container_of_others_when_we_stand_still(troubled: Served, series: str) -> None:
    with agent(troubled, "--strict-link", "on") as nri:
        pod = troubled.node.pod()
        nri.signal(signal.SIGSTOP)
        with pytest.raises(CriError, match=FAILED.get(series, "validator plugin 10-nri-cdi failed: ")):
            pod.container("plain")
        assert pod.container("next").start().running()


@on(*NEWER)
def test_a_start_that_meets_us_standing_still_is_not_refused_by_the_strict_link(troubled: Served) -> None:
    with agent(troubled, "--strict-link", "on") as nri:
        container = troubled.node.pod().container("plain")
        nri.signal(signal.SIGSTOP)
        assert container.start().running()


@on(NEXT)
def test_from_nri_0_12_5_on_a_start_of_others_that_meets_us_standing_still_is_refused_once(troubled: Served) -> None:
    with agent(troubled, "--strict-link", "on") as nri:
        pod = troubled.node.pod()
        container = pod.container("plain")
        nri.signal(signal.SIGSTOP)
        with pytest.raises(CriError, match="plugin 10-nri-cdi failed to handle StartContainer request: "):
            container.start()
        assert pod.container("next").start().running()


@ALL
def test_without_it_no_container_of_others_is_refused(troubled: Served) -> None:
    with agent(troubled) as nri:
        pod = troubled.node.pod()
        nri.signal(signal.SIGSTOP)
        assert pod.container("plain").start().running()
        nri.kill()
        assert pod.container("next").start().running()


@ALL
def test_a_pod_that_requires_us_is_refused_while_we_are_away_and_no_other_pod_is(troubled: Served) -> None:
    pod, other = troubled.node.pod(annotations=REQUIRED), troubled.node.pod()
    with pytest.raises(CriError, match='required plugin "nri-cdi" not present'):
        pod.container(extra=troubled.devices(1, guard=False))
    assert other.container("plain").start().running()
    with agent(troubled):
        assert inside(pod.container("later", extra=troubled.devices(1, guard=False)).start()) == ["mock/device_1"]


@ALL
def test_a_pod_that_does_not_require_us_runs_without_its_devices_while_we_are_away(troubled: Served) -> None:
    assert inside(troubled.node.pod().container(extra=troubled.devices(1, guard=False)).start()) == []
