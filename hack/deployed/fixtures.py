"""The fixtures of all tests of an installation: the cluster that $CLUSTER names, and the agent in it. A conftest.py imports them."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest
from lab import mock

from deployed.given import Given
from deployed.kind import KindCluster
from deployed.one_node import OneNode
from deployed.release import IMAGE, Release

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deployed.reached import Reached

SERIES: Final = os.environ.get("CLUSTER_RUNTIMES", "1.7 2.1").split()

_CLUSTERS: Final[dict[str, dict[str, Callable[[], Reached]]]] = {
    "kind": {"kind": partial(KindCluster, "nri-cdi-test", policies=True)},
    "one-node": {f"one-node-{series}": partial(OneNode, series) for series in SERIES},
    "kubeconfig": {"kubeconfig": Given},
}
"""What $CLUSTER may be, and the clusters that it stands for."""


def _chosen() -> dict[str, Callable[[], Reached]]:
    name = os.environ.get("CLUSTER", "one-node")
    if name not in _CLUSTERS:
        raise pytest.UsageError(f"CLUSTER={name} is none of {', '.join(_CLUSTERS)}")
    return _CLUSTERS[name]


@pytest.fixture(scope="session", params=_chosen())
def cluster(request: pytest.FixtureRequest) -> Iterator[Reached]:
    """One cluster for all tests, with the agent's image in it, which $IMAGE names; nri-cdi is not installed in the end."""
    with _chosen()[request.param]() as it:
        it.load(IMAGE)
        yield it
        Release(it).helm("uninstall", "nri-cdi", "--ignore-not-found", "--wait")


@pytest.fixture
def release(cluster: Reached) -> Iterator[Release]:
    """The agent, installed and ready; what a test changes of it is put back before the next one."""
    it = Release(cluster)
    it.install()
    cluster.wait_allocatable(mock.KIND, mock.COUNT)
    yield it
    cluster.delete_all()
