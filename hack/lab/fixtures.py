"""The fixtures of all tests that take a real runtime. A conftest.py imports those that it needs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import pytest

from lab import runtimes
from lab.node import Node
from lab.served import Served
from lab.trouble import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator

SERIES: Final = os.environ.get("RUNTIMES", "1.7 2.1 2.4").split()


@pytest.fixture(scope="session", params=SERIES)
def series(request: pytest.FixtureRequest) -> str:
    """Each series of containerd that $RUNTIMES names. One that is missing fails its tests: they did not run."""
    wanted = str(request.param)
    missing = None
    try:
        runtimes.containerd(wanted)
        runtimes.runc(None)
    except LabError as error:
        missing = f"{error}\nAll that these tests need: hack/get-runtime {' '.join(SERIES)}"
    if missing is not None:
        pytest.fail(missing, pytrace=False)
    return wanted


@pytest.fixture(scope="session")
def running_node(series: str) -> Iterator[Node]:
    """One node of each series for the whole run; tests take `node`, or `served`."""
    with Node(series) as node:
        yield node


@pytest.fixture
def node(running_node: Node) -> Iterator[Node]:
    """The shared node of the series, without pods and with its daemon running, also after the test."""
    yield running_node
    if running_node.daemon is None:
        running_node.start_daemon()
    running_node.remove_pods()


@pytest.fixture(scope="session")
def serving_node(series: str) -> Iterator[Served]:
    """One node of each series with mock devices and an agent; tests take `served`."""
    with Node(series) as node:
        yield Served(node)


@pytest.fixture
def served(serving_node: Served) -> Iterator[Served]:
    """The shared node with mock devices and an agent; what the test leaves there is removed."""
    yield serving_node
    serving_node.tidy()
