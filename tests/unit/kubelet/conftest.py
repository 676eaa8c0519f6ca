"""What the tests of the kubelet half stand on."""

from __future__ import annotations

import pathlib
import shutil
import tempfile
from typing import TYPE_CHECKING

import pytest

from nri_cdi.testing.log import Log, logged

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
