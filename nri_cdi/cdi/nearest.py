"""Names that are close to a mistyped one, for error texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHOWN: Final = 3
_MOST_COMPARED: Final = 2000
"""Errors are rendered while a container waits: the search among very many devices is cut off here."""


def to(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """At most three of `known` that one or two typing errors (or another case) make of `name`, the closest first."""
    scored: list[tuple[int, str]] = []
    for count, candidate in enumerate(known):
        if count >= _MOST_COMPARED:
            break
        distance = 0 if candidate.lower() == name.lower() else _distance(name, candidate)
        if distance <= _reach(name):
            scored.append((distance, candidate))
    return tuple(candidate for _, candidate in sorted(scored)[:_SHOWN])


def _reach(name: str) -> int:
    """Two errors in a long name; one where two would make nearly any name of any other."""
    return 2 if len(name) > 8 else 1


def _distance(left: str, right: str) -> int:
    """Insertions, removals, replacements between two texts (Levenshtein); 3 stands for three and more."""
    if abs(len(left) - len(right)) > 2:
        return 3
    # What both begin and end with costs nothing, and qualified names share nearly all of themselves.
    start = 0
    while start < min(len(left), len(right)) and left[start] == right[start]:
        start += 1
    left, right = left[start:], right[start:]
    while left and right and left[-1] == right[-1]:
        left, right = left[:-1], right[:-1]
    if max(len(left), len(right)) > 12:
        return 3
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        previous, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
    return min(row[-1], 3)
