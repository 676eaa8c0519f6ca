"""The names of resources: what Kubernetes takes, and what the configuration says. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

PREFIX_MAX: Final = 244
"""Bytes of a resource's domain: 253 for a DNS name, less the `requests.` that quotas put before it."""

NAME_MAX: Final = 63
"""Bytes of a resource's name part, Kubernetes' limit for the last part of a qualified name."""

_DOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAME: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")


def resource_name_problem(name: str) -> str | None:
    """Why Kubernetes refuses `name` as that of an extended resource, or None if it takes it.

    CDI allows more in a kind than Kubernetes in a resource: capitals and underscores in the vendor, for one. The kubelet refuses such a name
    at each Register; said at configuration time it is found once.
    """
    domain, slash, last = name.partition("/")
    said = f"{name!r} cannot be a Kubernetes resource"
    if not slash or not domain or not last or "/" in last:
        return f"{said}: it must have the form of a CDI kind, vendor/class, as in device.example.com/gpu"
    if "kubernetes.io/" in name:
        return f"{said}: names under kubernetes.io/ are Kubernetes' own"
    if domain.startswith("requests."):
        return f"{said}: a name that begins with 'requests.' is taken for a quota"
    if not _DOMAIN.fullmatch(domain) or len(domain) > PREFIX_MAX:
        return (
            f"{said}: the vendor {domain!r} must be a DNS name of at most {PREFIX_MAX} bytes: "
            "lower-case letters, digits, '-' and '.', each part beginning and ending with a letter or digit"
        )
    if not _NAME.fullmatch(last) or len(last) > NAME_MAX:
        return (
            f"{said}: the class {last!r} must have at most {NAME_MAX} bytes: "
            "letters, digits, '-', '_' and '.', beginning and ending with a letter or digit"
        )
    return None


def resource_names(settings: Iterable[str]) -> dict[str, str]:
    """The resource for each kind, from settings of the form `KIND` (named as the kind is) or `KIND=RESOURCE`, in their order.

    Raises ValueError, with all that is wrong, for names that Kubernetes refuses and for settings that contradict each other.
    """
    names: dict[str, str] = {}
    kinds: dict[str, str] = {}
    problems = []
    for setting in dict.fromkeys(settings):
        kind, given, name = setting.partition("=")
        name = name if given else kind
        if problem := resource_name_problem(name):
            hint = "" if given else f"; give it another name: --resource {kind}=RESOURCE"
            problems.append(problem + hint)
        elif kind in names:
            problems.append(f"the kind {kind} cannot be two resources, {names[kind]} and {name}: keep one of them")
        elif name in kinds:
            problems.append(
                f"the resource {name} cannot be two kinds, {kinds[name]} and {kind}: name one of them apart"
            )
        else:
            names[kind], kinds[name] = name, kind
    if problems:
        raise ValueError("; ".join(problems))
    return names
