"""The CDI keys of a container: allocations of ours, foreign ones, and the guards that stand in it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nri_cdi.allocation import (
    GUARD_ROOT,
    GUARD_SOURCE,
    guarded_key_name,
    guards_another_version,
    is_mark,
    is_of_another_version,
    mark_key,
    own_key_name,
)
from nri_cdi.cdi import AnnotationError
from nri_cdi.cdi.annotations import parse_value

from .refusals import Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .refusals import Subject
    from .request import Shown


@dataclass(frozen=True, slots=True)
class Keys:
    """What a container carries: qualified names by key name (ours) and by whole key (foreign), and the guards' mounts."""

    own: Mapping[str, tuple[str, ...]]
    foreign: Mapping[str, tuple[str, ...]]
    guards: tuple[str, ...]
    """Destinations of the guard mounts that stand, the parent first; empty when there are none, or when the parent is lifted already."""

    @property
    def names(self) -> tuple[str, ...]:
        """All names, our keys first, each name once: the runtime's own CDI drops repeats too."""
        groups = (*self.own.values(), *self.foreign.values())
        return tuple(dict.fromkeys(name for names in groups for name in names))


def keys(container: Shown, prefix: str, *, foreign_too: bool = True, trust_pod: bool = False) -> Keys:
    """The keys of a container, in sorted order; foreign ones only with `foreign_too`.

    Raises Refusal for a value that is no list of names, for an allocation key that stands on the pod too (the kubelet writes
    them on containers only: a person copied it), for a guard whose key did not arrive, and for keys and guards of a format that only a
    newer release knows: what they promise cannot be kept, and lifting our guard would lift theirs. A foreign key that stands on the pod
    too is not believed and left out, as the runtime's own CDI does, unless `trust_pod`.
    """
    own, foreign = {}, {}
    for key in sorted(key for key in container.annotations if key.startswith(prefix) and not is_mark(key)):
        name = own_key_name(key, prefix)
        ours = name is not None or is_of_another_version(key, prefix)
        if ours:
            check_not_smuggled(container, key, name)
        elif key in container.pod_annotations and not trust_pod:
            continue
        if not ours and not foreign_too:
            continue
        if ours and name is None:
            raise _unknown(_with(container, key), f"the annotation {key}")
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
    return Keys(own, foreign, _guards(container, own, prefix))


def check_not_smuggled(container: Shown, key: str, name: str | None) -> None:
    """Raises Refusal if an allocation key, or the mark of the allocation with key name `name`, stands on the pod as well.

    Only the kubelet writes the one and only we the other, and both on containers: a person copied it to the pod.
    """
    for written in (key, *([mark_key(name)] if name else [])):
        if written in container.pod_annotations:
            raise Refusal(
                Reason.SMUGGLED_KEY,
                _with(container, key),
                f"the annotation {written} stands on the pod as well, where only a person can have put it",
                "remove it from the pod",
            )


def named(annotations: Mapping[str, str], prefix: str) -> tuple[str, ...]:
    """The names in all keys as they stand, unchecked: for texts."""
    values = (value for key, value in sorted(annotations.items()) if key.startswith(prefix) and not is_mark(key))
    return tuple(dict.fromkeys(name for value in values for name in value.split(",") if name))


def _with(container: Shown, key: str) -> Subject:
    return replace(container.subject, devices=tuple(container.annotations[key].split(",")))


def _unknown(subject: Subject, what: str) -> Refusal:
    return Refusal(
        Reason.UNKNOWN_FORMAT,
        subject,
        f"{what} was written by a newer release of nri-cdi, whose format is not known here",
        "run that release on this node again, or delete the pod, so that it is allocated anew",
    )


def _guards(container: Shown, own: Mapping[str, tuple[str, ...]], prefix: str) -> tuple[str, ...]:
    children = []
    parent = False
    for mount in container.mounts:
        # the cover that another instance of ours has laid on it in this request is none
        parent = parent or (mount.destination == GUARD_ROOT and mount.source == GUARD_SOURCE)
        if guards_another_version(mount.destination):
            raise _unknown(container.subject, f"the guard {mount.destination}")
        guarded = guarded_key_name(mount.destination)
        if guarded is None:
            continue
        if guarded not in own:
            raise Refusal(
                Reason.GUARD_WITHOUT_KEY,
                container.subject,
                f"it has the guard of the allocation {guarded} without the annotation that names its devices",
                "delete the pod, so that it is allocated anew; "
                f"if that does not help, give the device plugin the --annotation-prefix that is read here: {prefix}",
            )
        children.append(mount.destination)
    return (GUARD_ROOT, *dict.fromkeys(children)) if parent and children else ()
