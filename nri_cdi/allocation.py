"""The wire format of an allocation: its annotation key, its guard mounts and its mark.

Allocate writes one annotation key for each allocation, `<prefix>nri-cdi.v1_<id>`; its value is the qualified names. The
kubelet keeps that answer in its checkpoint and replays it for the life of the pod, over upgrades and downgrades of
this program: **these names are for ever.** A new format gets a new version number and the old one stays understood.
What a newer release wrote (`nri-cdi.v2_...`) cannot be understood by this one: it is told apart, so that it can be refused instead of half served.

The guard of an allocation stands at the container's root. `/dev/null` is mounted on `/.nri-cdi` and on a child of it
whose name begins with the allocation's key name. runc cannot make a file below a device node, so as long as nobody lifts the
parent the container does not start, and the error it starts with is the child's name. The child's name goes on with a sentence
for the person who reads it in the pod's event.

Pure functions; both halves use them, and nothing here knows of CDI or NRI.
"""

from __future__ import annotations

import re
from typing import Final

DEFAULT_PREFIX: Final = "cdi.k8s.io/"
"""The annotation prefix that CDI itself uses; a setting may name another (both halves must agree)."""

GUARD_ROOT: Final = "/.nri-cdi"
"""The guards' parent in the container: the mount that makes runc refuse, and that the NRI half lifts."""

GUARD_SOURCE: Final = "/dev/null"
"""The host path of guard mounts: it exists on every host (containerd makes a directory of a path that is missing)."""

GUARD_SENTENCE: Final = (
    "the devices of this container were not injected - is the NRI plugin nri-cdi running on this node?"
)
"""What a person reads in the event of a container that the guard stopped. No slash: it is a file name."""

MARK_DOMAIN: Final = "nri-cdi.dev/"
"""The prefix of the annotations that CreateContainer leaves: not under the CDI prefix, which others read."""

_ID_BYTES: Final = 16
_THIS_VERSION: Final = "nri-cdi.v1_"
_OWN = re.compile(r"nri-cdi\.v1_([0-9a-f]{32})\Z")
_VERSIONED = re.compile(r"nri-cdi\.v[0-9]+_")
_GUARD = re.compile(r"/\.nri-cdi/(nri-cdi\.v1_[0-9a-f]{32})(?: [^/]*)?\Z")


def key_name(random: bytes) -> str:
    """The name part of an allocation's key, from 16 random bytes: `nri-cdi.v1_` and 32 hexadecimal digits.

    Raises ValueError for another number of bytes.
    """
    if len(random) != _ID_BYTES:
        raise ValueError(f"an allocation id takes {_ID_BYTES} bytes, not {len(random)}")
    return _THIS_VERSION + random.hex()


def own_key_name(key: str, prefix: str) -> str | None:
    """The name part of `key` if it is an allocation key of ours under `prefix`, else None."""
    if not key.startswith(prefix):
        return None
    name = key[len(prefix) :]
    return name if _OWN.match(name) else None


def own_key_name_under_any(key: str) -> str | None:
    """The name part of `key` if it is an allocation key of ours, whatever the prefix, else None."""
    found = _OWN.search(key)
    return found.group() if found else None


def is_of_another_version_under_any(key: str) -> bool:
    """`is_of_another_version`, whatever the prefix."""
    found = _VERSIONED.search(key)
    return found is not None and found.group() != _THIS_VERSION


def is_of_another_version(key: str, prefix: str) -> bool:
    """Whether `key` is an allocation key under `prefix` that another release wrote in a format unknown here."""
    found = _VERSIONED.match(key, len(prefix)) if key.startswith(prefix) else None
    return found is not None and found.group() != _THIS_VERSION


def allocation_id(name: str) -> str:
    """The 32 hexadecimal digits of a key name: what joins an allocation, its guard and its mark."""
    return name[-2 * _ID_BYTES :]


def guard_destinations(name: str) -> tuple[str, str]:
    """The two mount destinations of an allocation's guard: the parent, then the child that carries the sentence."""
    return GUARD_ROOT, f"{GUARD_ROOT}/{name} {GUARD_SENTENCE}"


def guarded_key_name(destination: str) -> str | None:
    """The key name that a mount destination guards, or None if it is no guard's child.

    The sentence behind the name may be any: it changes between releases, the name does not.
    """
    found = _GUARD.match(destination)
    return found.group(1) if found else None


def guards_another_version(destination: str) -> bool:
    """Whether a mount destination is a guard's child that another release wrote in a format unknown here."""
    return is_of_another_version(destination, f"{GUARD_ROOT}/")


def is_mark(key: str) -> bool:
    """Whether an annotation key is a mark of ours, of any version: no CDI key, also where MARK_DOMAIN itself is the CDI prefix."""
    return key.startswith(f"{MARK_DOMAIN}mark.v")


def mark_key(name: str) -> str:
    """The annotation key of the mark that CreateContainer leaves for the allocation with key name `name`."""
    return f"{MARK_DOMAIN}mark.v1_{allocation_id(name)}"
