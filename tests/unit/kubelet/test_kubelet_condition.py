from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from nri_cdi.cdi import DeviceNode
from nri_cdi.host.root import HostRoot
from nri_cdi.kubelet.candidates import Candidate
from nri_cdi.kubelet.condition import Look, look, problem

if TYPE_CHECKING:
    import pathlib


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    """A host: /dev with a FIFO, a file, a directory, and links to the FIFO and to nothing."""
    (tmp_path / "dev" / "dir").mkdir(parents=True)
    os.mkfifo(tmp_path / "dev" / "fifo")
    (tmp_path / "dev" / "file").touch()
    (tmp_path / "dev" / "link").symlink_to("/dev/fifo")
    (tmp_path / "dev" / "dangling").symlink_to("/dev/nosuch")
    return tmp_path


@pytest.mark.parametrize(
    ("node", "said"),
    [
        pytest.param(DeviceNode("/dev/fifo"), "", id="there"),
        pytest.param(DeviceNode("/in/the/container", "/dev/fifo", "p"), "", id="there under another path"),
        pytest.param(
            DeviceNode("/dev/x", type="c", major=89), "/dev/x is not there (No such file or directory)", id="missing"
        ),
        pytest.param(
            DeviceNode("/dev/fifo", type="c", major=89), "/dev/fifo is a FIFO on the host, the spec says c", id="type"
        ),
        pytest.param(DeviceNode("/dev/file"), "/dev/file is not a device node but a regular file", id="file"),
        pytest.param(
            DeviceNode("/dev/dir", type="c", major=89), "/dev/dir is not a device node but a directory", id="directory"
        ),
        pytest.param(DeviceNode("/dev/link", type="c", major=89), "", id="a link is as written when all is given"),
        pytest.param(DeviceNode("/dev/link"), "/dev/link is not a device node but a symbolic link", id="a link"),
        pytest.param(
            DeviceNode("/dev/dangling", type="c", major=89),
            "/dev/dangling is not a device node but a symbolic link",
            id="a link to nothing",
        ),
        pytest.param(DeviceNode("/opt/elsewhere"), "", id="what cannot be seen from here says nothing"),
    ],
)
def test_a_device_is_in_order_while_its_nodes_exist_with_the_right_type(
    root: pathlib.Path, node: DeviceNode, said: str
) -> None:
    path = node.host_path or node.path
    looks = {path: look(HostRoot(str(root)), path)}
    assert problem(Candidate("v.com/c=d", "v.com/c", "d", "f", (node,)), looks) == said
    assert problem(Candidate("v.com/c=d", "v.com/c", "d", "f", (), (node,)), looks) == said


def test_the_first_node_that_is_wrong_is_said() -> None:
    nodes = (DeviceNode("/dev/a"), DeviceNode("/dev/b"))
    looks = {"/dev/a": Look(), "/dev/b": Look(problem="is not there")}
    assert problem(Candidate("v.com/c=d", "v.com/c", "d", "f", nodes), looks) == "/dev/b is not there"
