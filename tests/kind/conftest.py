"""One cluster for all tests here; $KIND_NODE_IMAGE names its node image, $IMAGE the agent's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kind.cluster import KindCluster
from kind.release import IMAGE, Release
from lab import mock

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def cluster() -> Iterator[KindCluster]:
    with KindCluster("nri-cdi-test", policies=True) as it:
        it.load(IMAGE)
        yield it


@pytest.fixture
def release(cluster: KindCluster) -> Iterator[Release]:
    """The agent, installed and ready; what a test changes of it is put back before the next one."""
    it = Release(cluster)
    it.install()
    cluster.wait_allocatable(mock.KIND, mock.COUNT)
    yield it
    cluster.kubectl("delete", "pods", "--all", "--force", "--grace-period=0", "--namespace", "default")
