"""The natural order of device names: `device_2` before `device_10`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Collection

NaturalKey: TypeAlias = tuple[tuple[tuple[int, str], ...], str]

_DIGITS: Final = re.compile("([0-9]+)")


def natural(text: str) -> NaturalKey:
    """A sort key under which runs of digits compare as numbers; total, and defined for every text.

    Numbers compare by length and digits, never as int: Python refuses to read numbers of some thousand digits, and this
    stands on a path that must not fail.
    """
    parts = _DIGITS.split(text)
    numbers = (part.lstrip("0") for part in parts[1::2])
    key: list[tuple[int, str]] = [(0, parts[0])]
    for number, words in zip(numbers, parts[2::2], strict=True):
        key += [(len(number), number), (0, words)]
    return tuple(key), text


def few(names: Collection[str]) -> str:
    """The first names in natural order, and whether there are others."""
    return ", ".join(sorted(names, key=natural)[:3]) + (" and others" if len(names) > 3 else "")
