"""Container edits put together: the edits of a request are one list, in an order that the specification fixes."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from nri_cdi.cdi.model import NO_EDITS, ContainerEdits

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_T = TypeVar("_T")


def combine(parts: Sequence[ContainerEdits]) -> ContainerEdits:
    """One value of many, in order: lists are joined, nothing is dropped, the last `intelRdt` that is there wins."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return NO_EDITS
    rdts = [part.intel_rdt for part in parts if part.intel_rdt is not None]
    return ContainerEdits(
        env=_joined(part.env for part in parts),
        device_nodes=_joined(part.device_nodes for part in parts),
        hooks=_joined(part.hooks for part in parts),
        mounts=_joined(part.mounts for part in parts),
        intel_rdt=rdts[-1] if rdts else None,
        net_devices=_joined(part.net_devices for part in parts),
        additional_gids=_joined(part.additional_gids for part in parts),
    )


def _joined(lists: Iterable[tuple[_T, ...]]) -> tuple[_T, ...]:
    return tuple(chain.from_iterable(lists))
