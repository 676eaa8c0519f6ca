"""What the tests of the kubelet half stand on."""

from __future__ import annotations

import pathlib
import shutil
import tempfile
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def device_plugins() -> Iterator[pathlib.Path]:
    """A directory for sockets: short, because a unix socket's path has at most 107 bytes and tmp_path can be longer."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="kd-"))
    yield path
    shutil.rmtree(path)
