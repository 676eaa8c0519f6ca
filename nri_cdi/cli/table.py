"""Rows in columns, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """A line for each of the rows, of which the first may be a head, each column as wide as its longest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def table(rows: Sequence[Sequence[str]]) -> str:
    """The rows in columns. Texts of others cannot move the cursor."""
    return "\n".join(columns([["".join(c if c.isprintable() else " " for c in cell) for cell in row] for row in rows]))
