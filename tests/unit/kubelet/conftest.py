"""What the tests of the kubelet half stand on."""

from __future__ import annotations

import pathlib
import shutil
import tempfile
from typing import TYPE_CHECKING

import pytest

from nri_cdi.testing.log import Log, logged
from nri_cdi.testing.pod_resources import PodResources

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def device_plugins() -> Iterator[pathlib.Path]:
    """A kubelet's directory for sockets: short, because a unix socket's path has at most 107 bytes and tmp_path can be longer."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="kd-"))
    (path / "device-plugins").mkdir()
    yield path / "device-plugins"
    shutil.rmtree(path)


@pytest.fixture
def log() -> Iterator[Log]:
    """What the kubelet half logs."""
    with logged("nri_cdi.kubelet") as log:
        yield log


@pytest.fixture
def pod_resources(device_plugins: pathlib.Path) -> Iterator[PodResources]:
    """The pod resources service of the kubelet with that directory."""
    service = PodResources(device_plugins.parent / "pod-resources" / "kubelet.sock")
    yield service
    service.stop()
