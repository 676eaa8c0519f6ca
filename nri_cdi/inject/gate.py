"""The start gate: whether a container that is about to start has what its allocations were promised. Pure.

It looks at allocation keys of ours only, and it catches what nobody else sees: containers created while we were away, and
plugins behind us that took something away again. Keys of a format that only a newer release knows are not looked at: that release may
have injected them, and a refusal here ends the pod for good.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from nri_cdi.allocation import mark_key, own_key_name

from .keys import check_not_smuggled
from .marks import broken
from .refusals import Reason, Refusal

if TYPE_CHECKING:
    from .request import Shown


def check_start(container: Shown, prefix: str) -> None:
    """Raises Refusal if the container may not start."""
    for key in container.annotations:
        name = own_key_name(key, prefix)
        if name is None:
            continue
        check_not_smuggled(container, key, name)
        mark = container.annotations.get(mark_key(name))
        subject = replace(container.subject, devices=tuple(container.annotations[key].split(",")))
        if mark is None:
            raise Refusal(
                Reason.NOT_INJECTED,
                subject,
                "it was created without its CDI devices, because nri-cdi was not connected then",
                "delete the pod if it is not created anew by itself",
            )
        if count := broken(mark, container):
            raise Refusal(
                Reason.PROMISE_BROKEN,
                subject,
                f"{count} of the things that its CDI devices brought at creation {'are' if count > 1 else 'is'} not in it any more",
                "look for another NRI plugin that changes devices, mounts, variables or hooks",
            )
