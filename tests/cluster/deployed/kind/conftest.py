from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from deployed.kind import KindCluster

if TYPE_CHECKING:
    from deployed.reached import Reached


@pytest.fixture(scope="session")
def cluster(cluster: Reached) -> KindCluster:
    """The kind cluster: the tests here set its node up as theirs, or need its systemd or its API server."""
    if not isinstance(cluster, KindCluster):
        pytest.fail("these tests take CLUSTER=kind", pytrace=False)
    return cluster
