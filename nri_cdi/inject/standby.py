"""Whether an instance of ours before us in the same request has done it all: the other slot of a hot standby. Pure.

Its marks say so, and nobody else makes them: the kubelet does not, and what a person writes stands on the pod. They are believed as they are, so that a
second slot costs next to nothing, and so that two releases which would promise different things get on: the first one's promise is the one that
counts, and the start gate is what proves it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nri_cdi.allocation import GUARD_ROOT, GUARD_SOURCE, guarded_key_name, is_mark, mark_key, own_key_name

if TYPE_CHECKING:
    from nri_cdi.nri import api


def done_already(request: api.CreateContainerRequest, prefix: str) -> tuple[str, ...]:
    """The key names of the container's allocations if all have their marks and no guard stands any more, else nothing.

    Nothing also where there is anything to look at more closely: a foreign key (it has no mark), a key or mark that stands on the pod too, a
    guard that is none of these allocations'.
    """
    annotations, on_pod = request.container.annotations, request.pod.annotations
    names = []
    for key in annotations:
        if not key.startswith(prefix) or is_mark(key):
            continue
        name = own_key_name(key, prefix)
        if name is None or (mark := mark_key(name)) not in annotations or key in on_pod or mark in on_pod:
            return ()
        names.append(name)
    for mount in request.container.mounts:
        place = mount.destination
        if place.startswith(GUARD_ROOT) and (
            mount.source == GUARD_SOURCE if place == GUARD_ROOT else guarded_key_name(place) not in names
        ):
            return ()
    return tuple(names)
