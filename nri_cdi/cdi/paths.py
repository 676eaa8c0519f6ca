"""Paths as CDI compares them: cleaned by text alone, never by asking a file system."""

from __future__ import annotations

import posixpath


def clean(path: str) -> str:
    """The shortest equivalent path by text: no `//`, `.` or inner `..`; the empty path is `.` (Go's `path.Clean`)."""
    cleaned = posixpath.normpath(path)
    # POSIX lets exactly two leading slashes mean something else; CDI does not.
    return cleaned[1:] if cleaned.startswith("//") else cleaned
