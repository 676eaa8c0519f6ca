from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from lab.cluster import Cluster
from lab.equipped import Equipped
from lab.kubernetes import parts
from lab.runtimes import containerd, runc
from lab.trouble import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator

SERIES = os.environ.get("CLUSTER_RUNTIMES", "1.7 2.1").split()


@pytest.fixture(scope="session", params=SERIES)
def series(request: pytest.FixtureRequest) -> str:
    """Each series of containerd that $CLUSTER_RUNTIMES names. A missing part fails the tests: they did not run."""
    wanted = str(request.param)
    missing = []
    for part in (parts, lambda: containerd(wanted), lambda: runc(None)):
        try:
            part()
        except LabError as error:
            missing.append(str(error))
    if missing:
        pytest.fail("\n".join(missing), pytrace=False)
    return wanted


@pytest.fixture(scope="session")
def running_cluster(series: str) -> Iterator[Equipped]:
    """One cluster of each series for the whole run; tests take `equipped`."""
    with Cluster(series) as cluster:
        yield Equipped(cluster)


@pytest.fixture
def equipped(running_cluster: Equipped) -> Equipped:
    """The shared cluster with both halves of nri-cdi running as two processes, and no pods."""
    running_cluster.tidy()
    return running_cluster


@pytest.fixture
def cluster(equipped: Equipped) -> Cluster:
    """The cluster of `equipped`."""
    return equipped.cluster
