"""Device nodes filled from the host."""

from __future__ import annotations

import pytest
from hypothesis import given

from nri_cdi.cdi import DeviceNode, HostNode, HostNodeMissing, InjectionError, LocalHost, NotADeviceNode, fill
from nri_cdi.testing import specs
from nri_cdi.testing.host import FakeHost

HOST: dict[str, HostNode | str] = {
    "/dev/null": HostNode("c", 1, 3, 0o666),
    "/dev/sda": HostNode("b", 8, 0, 0o660),
    "/run/fifo": HostNode("p", 0, 0, 0o1622),
    "/dev/dri": "a directory",
    "/dev/link": "a symbolic link",
}


@pytest.mark.parametrize(
    ("node", "filled"),
    [
        (DeviceNode("/dev/null"), DeviceNode("/dev/null", "/dev/null", "c", 1, 3, 0o666)),
        (DeviceNode("/dev/x", "/dev/sda"), DeviceNode("/dev/x", "/dev/sda", "b", 8, 0, 0o660)),
        (DeviceNode("/dev/null", type="c"), DeviceNode("/dev/null", "/dev/null", "c", 1, 3, 0o666)),
        (DeviceNode("/dev/null", minor=9), DeviceNode("/dev/null", "/dev/null", "c", 1, 3, 0o666)),
        (DeviceNode("/dev/null", major=5), DeviceNode("/dev/null", "/dev/null", "c", 5, 0, 0o666)),
        (DeviceNode("/dev/null", file_mode=0), DeviceNode("/dev/null", "/dev/null", "c", 1, 3, 0)),
        (DeviceNode("/run/fifo"), DeviceNode("/run/fifo", "/run/fifo", "p", 0, 0, 0o1622)),
        (DeviceNode("/run/fifo", minor=4), DeviceNode("/run/fifo", "/run/fifo", "p", 0, 4, 0o1622)),
        # taken as written: type and major are there
        (
            DeviceNode("/dev/null", type="b", major=99, minor=98),
            DeviceNode("/dev/null", "/dev/null", "b", 99, 98, 0o666),
        ),
        (DeviceNode("/none", type="c", major=99), DeviceNode("/none", "/none", "c", 99, 0)),
        (DeviceNode("/dev/dri", type="u", major=9), DeviceNode("/dev/dri", "/dev/dri", "u", 9, 0)),
        (DeviceNode("/none", type="p"), DeviceNode("/none", "/none", "p")),
        (DeviceNode("/dev/null", uid=0, gid=7), DeviceNode("/dev/null", "/dev/null", "c", 1, 3, 0o666, uid=0, gid=7)),
    ],
)
def test_what_the_spec_leaves_open_comes_from_the_host(node: DeviceNode, filled: DeviceNode) -> None:
    assert fill(node, FakeHost(HOST)) == filled


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (DeviceNode("/none"), ("/none", "no such file")),
        (DeviceNode("/dev/x", "/none"), ("/dev/x", "/none", "no such file")),
        (DeviceNode("/none", major=1), ("/none",)),
        (DeviceNode("/none", type="c"), ("/none",)),
        (DeviceNode("/dev/dri"), ("not a device node", "a directory")),
        (DeviceNode("/dev/link"), ("not a device node", "a symbolic link")),
        (DeviceNode("/dev/null", type="b"), ("type mismatch", "says b", "is c")),
        (DeviceNode("/dev/null", type="u"), ("type mismatch",)),
    ],
)
def test_a_node_that_the_host_must_complete_and_cannot_is_refused(node: DeviceNode, words: tuple[str, ...]) -> None:
    with pytest.raises(InjectionError) as caught:
        fill(node, FakeHost(HOST))
    assert all(word in str(caught.value) for word in words)


@given(specs.device_nodes)
def test_the_host_is_asked_each_time_and_once(node: DeviceNode) -> None:
    host = FakeHost(
        {node.host_path or node.path: HostNode(node.type if node.type not in ("", "u") else "c", 5, 6, 0o600)}
    )
    try:
        filled = fill(node, host)
    except InjectionError:
        assert (node.type, node.major) == ("u", 0)
    else:
        assert filled.file_mode is not None
    assert host.asked == [node.host_path or node.path]


def test_the_local_host_knows_dev_null() -> None:
    assert LocalHost().device_node("/dev/null") == HostNode("c", 1, 3, 0o666)


@pytest.mark.parametrize(
    ("path", "error"),
    [("/dev/null/x", HostNodeMissing), ("/none", HostNodeMissing), ("a\0b", HostNodeMissing), ("/", NotADeviceNode)],
)
def test_the_local_host_says_what_it_found_instead(path: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        LocalHost().device_node(path)
