"""The CDI keys of a container: allocations of ours, foreign ones, and the guards that stand in it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nri_cdi.allocation import GUARD_ROOT, guarded_key_name, own_key_name
from nri_cdi.cdi import AnnotationError
from nri_cdi.cdi.annotations import parse_value

from .refusals import Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .request import Shown


@dataclass(frozen=True, slots=True)
class Keys:
    """What a container carries: qualified names by key name (ours) and by whole key (foreign), and the guards' mounts."""

    own: Mapping[str, tuple[str, ...]]
    foreign: Mapping[str, tuple[str, ...]]
    guards: tuple[str, ...]
    """Destinations of guard mounts, the parent once; empty when there are none."""

    @property
    def names(self) -> tuple[str, ...]:
        """All names, our keys first, each name once: the runtime's own CDI drops repeats too."""
        groups = (*self.own.values(), *self.foreign.values())
        return tuple(dict.fromkeys(name for names in groups for name in names))


def keys(container: Shown, prefix: str) -> Keys:
    """The keys of a container, in sorted order.

    Raises Refusal for a value that is no list of names, for an allocation key that stands on the pod too (the kubelet writes
    them on containers only: a person copied it), and for a guard whose key did not arrive. A foreign key that stands on the pod
    too is not believed and left out, as the runtime's own CDI does.
    """
    own, foreign = {}, {}
    for key in sorted(key for key in container.annotations if key.startswith(prefix)):
        name = own_key_name(key, prefix)
        if key in container.pod_annotations:
            if name is None:
                continue
            raise Refusal(
                Reason.SMUGGLED_KEY,
                container.subject,
                f"the annotation {key} stands on the pod as well, where only a person can have put it",
                "remove it from the pod",
            )
        try:
            names = parse_value(key, container.annotations[key])
        except AnnotationError as error:
            raise Refusal(
                Reason.MALFORMED_ANNOTATION, container.subject, str(error), "correct what the device plugin writes"
            ) from error
        if name is None:
            foreign[key] = names
        else:
            own[name] = names
    return Keys(own, foreign, _guards(container, own))


def _guards(container: Shown, own: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    children = []
    for mount in container.mounts:
        guarded = guarded_key_name(mount.destination)
        if guarded is None:
            continue
        if guarded not in own:
            raise Refusal(
                Reason.GUARD_WITHOUT_KEY,
                container.subject,
                f"it has the guard of the allocation {guarded} without the annotation that names its devices",
                "delete the pod, so that it is allocated anew",
            )
        children.append(mount.destination)
    return (GUARD_ROOT, *dict.fromkeys(children)) if children else ()
