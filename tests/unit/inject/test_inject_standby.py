"""The second slot leaves a container alone to which the first one has just given all that was promised, without looking at anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nri_cdi.allocation import GUARD_ROOT, key_name, mark_key
from nri_cdi.host.root import HostRoot
from nri_cdi.inject import InjectPlugin, Stance
from nri_cdi.nri import Refused, api

if TYPE_CHECKING:
    from nri_cdi.cdi import Snapshot

NAME, OTHER = key_name(bytes(16)), key_name(bytes(15) + b"\1")
PREFIX = "cdi.k8s.io/"
KEY = f"{PREFIX}{NAME}"
DONE = {KEY: "vendor.com/gpu=a", mark_key(NAME): "of another release"}
CHILD = api.Mount(destination=f"{GUARD_ROOT}/{NAME} sentence", source="/dev/null")
COVER = api.Mount(destination=GUARD_ROOT, source="tmpfs", type="tmpfs")
PARENT = api.Mount(destination=GUARD_ROOT, source="/dev/null")


def unreadable(_patience: float) -> Snapshot | None:
    raise RuntimeError("it looked at the specs")


def second() -> InjectPlugin:
    """A plugin that refuses whatever it looks at more closely."""
    return InjectPlugin(unreadable, HostRoot(), Stance(PREFIX))


def container(annotations: dict[str, str] | None = None, *mounts: api.Mount) -> api.Container:
    return api.Container(annotations=DONE | (annotations or {}), mounts=mounts)


@pytest.mark.parametrize("mounts", [(), (COVER, CHILD)], ids=["guard removed", "guard covered"])
def test_it_leaves_a_container_with_all_marks_alone_and_accounts_for_it(mounts: tuple[api.Mount, ...]) -> None:
    plugin = second()
    assert plugin.create_container(api.CreateContainerRequest(container=container(None, *mounts))) is None
    assert list(plugin.accounts.entries()) == ["0" * 32]


@pytest.mark.parametrize(
    ("shown", "pod"),
    [
        (container({f"{PREFIX}{OTHER}": "vendor.com/gpu=b"}), {}),
        (container({f"{PREFIX}other-plugin_1": "vendor.com/gpu=b"}), {}),
        (container({f"{PREFIX}nri-cdi.v2_1": "vendor.com/gpu=b"}), {}),
        (container(), {KEY: "vendor.com/gpu=a"}),
        (container(), {mark_key(NAME): "-"}),
        (container(None, PARENT, CHILD), {}),
        (container(None, api.Mount(destination=f"{GUARD_ROOT}/{OTHER} sentence", source="/dev/null")), {}),
    ],
    ids=[
        "a mark missing",
        "a foreign key",
        "a newer key",
        "key on the pod",
        "mark on the pod",
        "guard up",
        "another guard",
    ],
)
def test_anything_else_is_looked_at(shown: api.Container, pod: dict[str, str]) -> None:
    request = api.CreateContainerRequest(pod=api.PodSandbox(annotations=pod), container=shown)
    with pytest.raises(Refused):
        second().create_container(request)
