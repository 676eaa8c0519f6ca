"""Names that are close to a mistyped one, for error texts."""

from __future__ import annotations

from bisect import bisect
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHOWN: Final = 3
_MOST_COMPARED: Final = 250
"""Errors are rendered while a container waits (comparing takes some 4 us a name): of very many names those around the wrong one are compared."""

_LONGEST: Final = 200
"""Characters: a longer name is no typing error."""


def to(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """At most three of `known` that one or two typing errors (or another case) make of `name`, the closest first."""
    if len(name) > _LONGEST:
        return ()
    folded, reach = name.lower(), _reach(name)
    # Qualified names share their kind: it is compared once.
    stem = name[: name.find("=") + 1]
    rest = name[len(stem) :]
    scored: list[tuple[int, str]] = []
    names = sorted(known)
    at = max(0, min(bisect(names, name) - _MOST_COMPARED // 2, len(names) - _MOST_COMPARED))
    for candidate in names[at : at + _MOST_COMPARED]:
        if abs(len(candidate) - len(name)) > reach:
            continue
        if candidate.startswith(stem):
            distance = _distance(rest, candidate[len(stem) :], reach)
        else:
            distance = _distance(name, candidate, reach)
        if distance <= reach:
            scored.append((distance, candidate))
        elif candidate.lower() == folded:
            scored.append((0, candidate))
    return tuple(candidate for _, candidate in sorted(scored)[:_SHOWN])


def _reach(name: str) -> int:
    """Two errors in a long name; one where two would make nearly any name of any other."""
    return 2 if len(name) > 8 else 1


def _distance(left: str, right: str, reach: int) -> int:
    """Insertions, removals, replacements between two texts (Levenshtein); more than `reach` when there are more."""
    # What both begin and end with costs nothing.
    while left and right and left[-1] == right[-1]:
        left, right = left[:-1], right[:-1]
    start = 0
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        start += 1
    left, right = left[start:], right[start:]
    # Each error makes at most one character that the other has not.
    if len(set(left).difference(right)) > reach or len(set(right).difference(left)) > reach:
        return reach + 1
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        previous, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
        if min(row) > reach:  # it never falls again
            return reach + 1
    return row[-1]
