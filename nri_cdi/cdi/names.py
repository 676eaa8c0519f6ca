"""Names of CDI: `vendor/class=device`, and the grammar of each part.

The grammars are those that implementations enforce, which are wider than the DNS rules in the text of the specification.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from nri_cdi.cdi.errors import InvalidName

_LETTER = re.compile(r"[A-Za-z]")
_ALPHANUMERIC = re.compile(r"[A-Za-z0-9]")
_KIND_PART = re.compile(r"[A-Za-z](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?")
_DEVICE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.:-]*[A-Za-z0-9])?")
_QUALIFIED = re.compile(rf"{_KIND_PART.pattern}/{_KIND_PART.pattern}={_DEVICE.pattern}")
_NOT_IN_KIND_PART = re.compile(r"[^A-Za-z0-9_.-]")
_NOT_IN_DEVICE = re.compile(r"[^A-Za-z0-9_.:-]")


@dataclass(frozen=True, slots=True)
class QualifiedName:
    """The three parts of a qualified device name; `str()` puts them together again."""

    vendor: str
    cls: str
    name: str

    def __str__(self) -> str:
        return f"{self.vendor}/{self.cls}={self.name}"

    @property
    def kind(self) -> str:
        """`vendor/class`, as it stands in a spec file."""
        return f"{self.vendor}/{self.cls}"


def vendor_fault(text: str) -> str | None:
    """What is wrong with a vendor name, for people; None if nothing is."""
    return _kind_part_fault("vendor", text)


def class_fault(text: str) -> str | None:
    """What is wrong with a class name, for people; None if nothing is."""
    return _kind_part_fault("class", text)


def device_fault(text: str) -> str | None:
    """What is wrong with a device name (the part behind the `=`), for people; None if nothing is."""
    if _DEVICE.fullmatch(text):
        return None
    if not text:
        return "the device name is empty"
    if not _ALPHANUMERIC.match(text):
        return f'the device name "{text}" must start with an ASCII letter or digit'
    if bad := _NOT_IN_DEVICE.search(text[1:-1]):
        return (
            f'the device name "{text}" has the character {bad.group()!r}; allowed are ASCII letters, digits and _ - . :'
        )
    return f'the device name "{text}" must end with an ASCII letter or digit'


def _kind_part_fault(part: str, text: str) -> str | None:
    if _KIND_PART.fullmatch(text):
        return None
    if not text:
        return f"the {part} is empty"
    if not _LETTER.match(text):
        return f'the {part} "{text}" must start with an ASCII letter'
    if bad := _NOT_IN_KIND_PART.search(text[1:-1]):
        return f'the {part} "{text}" has the character {bad.group()!r}; allowed are ASCII letters, digits and _ - .'
    return f'the {part} "{text}" must end with an ASCII letter or digit'


def split(text: str) -> QualifiedName | None:
    """The three parts by position alone, grammar unchecked; None if `text` is no `vendor/class=device`."""
    if text.startswith("/"):
        return None
    kind, equals, name = text.partition("=")
    vendor, slash, cls = kind.partition("/")
    return QualifiedName(vendor, cls, name) if equals and slash and vendor and cls and name else None


def parse_qualified_name(text: str) -> QualifiedName:
    """The parts of a qualified device name.

    Raises InvalidName, saying which part is wrong and how. `/dev/null`, `dev0` and `a=b/c` are not qualified at all.
    """
    parts = split(text)
    if parts is None:
        raise InvalidName(text, "qualified name", "not a qualified CDI device name; it must be vendor/class=device")
    for part, fault in (
        ("vendor", vendor_fault(parts.vendor)),
        ("class", class_fault(parts.cls)),
        ("device", device_fault(parts.name)),
    ):
        if fault:
            raise InvalidName(text, part, f"not a qualified CDI device name: {fault}")
    return parts


def is_qualified(text: str) -> bool:
    """Whether `text` is a well-formed `vendor/class=device`; says nothing about whether the device exists."""
    return _QUALIFIED.fullmatch(text) is not None
