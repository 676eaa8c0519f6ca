"""GetPreferredAllocation: which of the free devices a container would best get. Pure, and never an error: its error ends the pod."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Final

from nri_cdi.host.numa import NOWHERE
from nri_cdi.kubelet.order import natural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from nri_cdi.host.numa import Place


class Preference(enum.Enum):
    """How devices are chosen. What must be included always is, and among equals natural order decides."""

    PACKED = "packed"
    """From as few NUMA nodes as possible, within them from as few PCI roots, and from the fullest that suffice: room for big requests is kept."""
    SPREAD = "spread"
    """Evenly over NUMA nodes, within them over PCI roots: for containers that each load one bus."""
    IN_ORDER = "in-order"


_LEVELS: Final = (lambda place: place.numa, lambda place: place.root)
"""Outer to inner: what devices are grouped by."""


def preferred(
    available: Iterable[str],
    must_include: Iterable[str],
    size: int,
    places: Mapping[str, Place] | None = None,
    preference: Preference = Preference.IN_ORDER,
    order: Callable[[str], Any] = natural,  # what can be compared
) -> tuple[str, ...]:
    """`size` device ids: those that must be included, then the best of the available ones.

    With more that must be included than asked for, all of those; with fewer available than asked for, all there are. The kubelet
    takes the answer as a hint and fills up at random, so a short answer harms nobody. A device without a place in `places` is nowhere.
    `order` gives the sort key of an id.
    """
    must = sorted(set(must_include), key=order)
    free = sorted(set(available).difference(must), key=order)
    count = min(max(0, size - len(must)), len(free))
    where = {device: (places or {}).get(device, NOWHERE) for device in (*must, *free)}
    if preference is Preference.PACKED:
        free = _packed(free, must, count, where, 0)
    elif preference is Preference.SPREAD:
        free = _spread(free, must, count, where, 0)
    return (*must, *free[:count])


def _packed(free: list[str], must: Sequence[str], count: int, where: Mapping[str, Place], level: int) -> list[str]:
    if level == len(_LEVELS) or not count:
        return free[:count]
    count = min(count, len(free))
    groups = _groups(free, where, level)
    near = {_LEVELS[level](where[device]) for device in must}
    chosen: list[str] = []
    while len(chosen) < count:
        left = count - len(chosen)
        # First beside what must be included; then the smallest group that suffices, else the largest.
        place = min(
            groups,
            key=lambda group: (
                group not in near,
                len(groups[group]) < left,
                len(groups[group]) if len(groups[group]) >= left else -len(groups[group]),
            ),
        )
        within = [device for device in must if _LEVELS[level](where[device]) == place]
        chosen += _packed(groups.pop(place), within, left, where, level + 1)
    return chosen


def _spread(free: list[str], must: Sequence[str], count: int, where: Mapping[str, Place], level: int) -> list[str]:
    if level == len(_LEVELS) or not count:
        return free[:count]
    groups = _groups(free, where, level)
    taken = dict.fromkeys(groups, 0)
    for device in must:
        place = _LEVELS[level](where[device])
        if place in taken:
            taken[place] += 1
    shares = dict.fromkeys(groups, 0)
    for _ in range(count):
        place = min(
            (group for group in groups if shares[group] < len(groups[group])),
            key=lambda group: taken[group] + shares[group],
        )
        shares[place] += 1
    chosen: list[str] = []
    for place, share in shares.items():
        within = [device for device in must if _LEVELS[level](where[device]) == place]
        chosen += _spread(groups[place], within, share, where, level + 1)
    return chosen


def _groups(free: Iterable[str], where: Mapping[str, Place], level: int) -> dict[object, list[str]]:
    """The devices by their places at a level, in the order in which each place is first met: `min` takes the first among equals."""
    groups: dict[object, list[str]] = {}
    for device in free:
        groups.setdefault(_LEVELS[level](where[device]), []).append(device)
    return groups
