from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nri_cdi.cdi import HostNode
from nri_cdi.host.numa import Place, Sysfs, numa_node, pci_root

if TYPE_CHECKING:
    import pathlib


@pytest.mark.parametrize(
    ("path", "root"),
    [
        ("/sys/devices/pci0000:17/0000:17:00.0/0000:18:00.0/drm/card0", "pci0000:17"),
        ("/sys/devices/pci10000:00/10000:00:02.0/nvme", "pci10000:00"),
        ("/sys/devices/platform/soc/pci0001:00/0001:00:00.0", "pci0001:00"),
        ("/sys/devices/virtual/mem/null", ""),
        ("/sys/devices/not-pci0000:17/x", ""),
        ("", ""),
    ],
)
def test_the_pci_root_is_in_the_path_of_the_device(path: str, root: str) -> None:
    assert pci_root(path) == root


@pytest.mark.parametrize(("text", "numa"), [("0\n", 0), ("1", 1), ("-1\n", None), ("", None), ("x", None), ("²", None)])
def test_minus_one_is_no_numa_node(text: str, numa: int | None) -> None:
    assert numa_node(text) == numa


@given(st.text())
def test_any_content_is_a_node_or_none(text: str) -> None:
    numa = numa_node(text)
    assert numa is None or numa >= 0


def test_a_device_sits_where_its_nearest_parent_in_sysfs_says(tmp_path: pathlib.Path) -> None:
    device = tmp_path / "sys/devices/pci0000:17/0000:17:00.0/drm/card0"
    device.mkdir(parents=True)
    (device.parent.parent / "numa_node").write_text("1\n")
    (device.parents[2] / "numa_node").write_text("0\n")
    of_kind = tmp_path / "sys/dev/char"
    of_kind.mkdir(parents=True)
    (of_kind / "226:0").symlink_to("../../devices/pci0000:17/0000:17:00.0/drm/card0")
    sysfs = Sysfs(str(tmp_path))
    assert sysfs.place(HostNode("c", 226, 0, 0o660)) == Place(1, "pci0000:17")
    assert sysfs.place(HostNode("c", 226, 1, 0o660)) == Place()
    assert sysfs.place(HostNode("b", 226, 0, 0o660)) == Place()
    assert sysfs.place(HostNode("p", 0, 0, 0o660)) == Place()


def test_without_the_hosts_sysfs_our_own_is_asked(tmp_path: pathlib.Path) -> None:
    assert Sysfs(str(tmp_path)).place(HostNode("c", 1, 3, 0o666)) == Place()
