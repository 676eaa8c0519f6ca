"""GetPreferredAllocation: which of the free devices a container would best get. Pure, and never an error: its error ends the pod."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nri_cdi.kubelet.order import natural

if TYPE_CHECKING:
    from collections.abc import Iterable


def preferred(available: Iterable[str], must_include: Iterable[str], size: int) -> tuple[str, ...]:
    """`size` device ids: those that must be included, then the available ones in natural order.

    With more that must be included than asked for, all of those; with fewer available than asked for, all there are. The kubelet
    takes the answer as a hint and fills up at random, so a short answer harms nobody.
    """
    must = sorted(set(must_include), key=natural)
    free = sorted(set(available).difference(must), key=natural)
    return (*must, *free[: max(0, size - len(must))])
