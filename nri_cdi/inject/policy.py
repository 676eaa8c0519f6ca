"""What the operator allows CDI devices to bring into containers. Pure.

CDI specs are files of the node, and a hook runs as root on it. Where not everybody who writes specs is trusted with all of that, these lists
say what is allowed; an empty list allows everything. They hold for our keys and for foreign ones.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from .refusals import Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .promise import Promise
    from .refusals import Subject


@dataclass(frozen=True, slots=True)
class Policy:
    """The allowed kinds and namespaces (shell patterns), hook programs and mount sources (paths, with all that is below them)."""

    kinds: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()


ALLOW_ALL: Final = Policy()


def check(policy: Policy, names: Iterable[str], promised: Promise, subject: Subject) -> None:
    """Raises Refusal, which names the rule, for the first thing that the policy does not allow."""
    problem = _devices(policy, names, subject) or _edits(policy, promised)
    if problem is not None:
        rule, what = problem
        raise Refusal(
            Reason.POLICY_DENIED,
            subject,
            f"{what}, which the policy does not allow",
            f"{rule} in the settings of nri-cdi on this node names what is allowed",
        )


def _devices(policy: Policy, names: Iterable[str], subject: Subject) -> tuple[str, str] | None:
    if policy.namespaces and not _matches(subject.namespace, policy.namespaces):
        return "allow-namespace", f"it is in the namespace {subject.namespace} and asks for CDI devices"
    for name in names:
        if policy.kinds and not _matches(name.partition("=")[0], policy.kinds):
            return "allow-kind", f"it asks for {name}"
    return None


def _edits(policy: Policy, promised: Promise) -> tuple[str, str] | None:
    for hook in promised.hooks:
        if policy.hooks and not _below(hook.path, policy.hooks):
            return "allow-hook", f"its CDI devices bring the {hook.kind} hook {hook.path}"
    for mount in promised.mounts.values():
        if policy.mounts and not _below(mount.source, policy.mounts):
            return "allow-mount", f"its CDI devices mount {mount.source}"
    return None


def _matches(text: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)


def _below(path: str, allowed: tuple[str, ...]) -> bool:
    """Whether a path is one of `allowed` or below it; `..` is taken out first."""
    clean = posixpath.normpath(path)
    roots = (posixpath.normpath(root) for root in allowed)
    return any(root in {"/", clean} or clean.startswith(f"{root}/") for root in roots)
