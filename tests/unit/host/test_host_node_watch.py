from __future__ import annotations

import ctypes
import errno
from typing import TYPE_CHECKING

import pytest

from nri_cdi.host import inotify
from nri_cdi.host.node_watch import NodeWatch

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

A, B = "/dev/mock/a", "/dev/mock/b"


@pytest.fixture
def dev(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "dev/mock"
    path.mkdir(parents=True)
    (path / "a").touch()
    return path


@pytest.fixture
def watch(tmp_path: pathlib.Path, dev: pathlib.Path) -> Iterator[NodeWatch]:
    assert dev.exists()
    watch = NodeWatch([A, B], str(tmp_path))
    yield watch
    watch.close()


def test_a_node_that_comes_or_goes_is_named(dev: pathlib.Path, watch: NodeWatch) -> None:
    (dev / "b").touch()
    assert watch.take()
    assert watch.touched() == frozenset({B})
    (dev / "a").unlink()
    (dev / "b").rename(dev / "other")
    assert watch.take()
    assert watch.touched() == frozenset({A, B})
    assert watch.touched() == frozenset()


def test_using_a_node_and_what_happens_to_others_is_nothing(dev: pathlib.Path, watch: NodeWatch) -> None:
    with (dev / "a").open("w") as node:
        node.write("used")
    (dev / "a").chmod(0o600)
    (dev / "other").touch()
    assert not watch.take()
    assert watch.touched() == frozenset()


def test_a_directory_that_comes_or_goes_may_change_every_node(dev: pathlib.Path, watch: NodeWatch) -> None:
    (dev / "a").unlink()
    dev.rmdir()
    assert watch.take()
    assert watch.touched() is None
    watch.renew()
    dev.mkdir()
    assert watch.take()
    assert watch.touched() is None
    watch.renew()
    (dev / "a").touch()
    assert watch.take()
    assert watch.touched() == frozenset({A})


def test_paths_that_come_are_watched_and_those_that_go_no_more(
    tmp_path: pathlib.Path, dev: pathlib.Path, watch: NodeWatch
) -> None:
    (tmp_path / "dev/other").mkdir()
    watch.take()
    watch.change(["/dev/other/c"], [B])
    (tmp_path / "dev/other/c").touch()
    (dev / "b").touch()
    assert watch.take()
    assert watch.touched() == frozenset({"/dev/other/c"})
    watch.change([B], ["/dev/other/c"])
    (tmp_path / "dev/other/c").unlink()
    assert not watch.take()
    (dev / "b").unlink()
    assert watch.take()
    assert watch.touched() == frozenset({B})


def test_a_path_that_cannot_be_is_not_watched_and_the_others_are(tmp_path: pathlib.Path, dev: pathlib.Path) -> None:
    (dev / "loop").symlink_to("loop")
    (dev / "file").touch()
    odd = ["/dev/a\0b/c", "/dev/mock/x\0y", f"/dev/{'x' * 300}/c", "/dev/mock/file/c", "/dev/mock/loop/c", "/d" * 3000]
    watch = NodeWatch([A, *odd], str(tmp_path))
    (dev / "a").unlink()
    assert watch.take()
    assert watch.touched() == frozenset({A})
    watch.close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.ENOMEM])
def test_a_kernel_that_watches_no_more_is_an_error(
    tmp_path: pathlib.Path, dev: pathlib.Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    class Libc:
        """Has no watches left."""

        inotify_init1 = inotify._LIBC.inotify_init1

        def inotify_add_watch(self, _number: int, _path: bytes, _mask: int) -> int:
            ctypes.set_errno(number)
            return -1

    assert dev.exists()
    monkeypatch.setattr(inotify, "_LIBC", Libc())
    with pytest.raises(OSError, match="inotify_add_watch") as refused:
        NodeWatch([A], str(tmp_path))
    assert refused.value.errno == number
