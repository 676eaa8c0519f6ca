"""Plain data as the text of a spec file: YAML or JSON that every implementation reads back as the same.

Text that a reader of YAML would take for something else (`y`, `1.10`, `0x10`) is quoted. Light: PyYAML is not loaded.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from nri_cdi.cdi.scalars import resolve_plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_INDENT: Final = 4
_PLAIN = re.compile(r"[A-Za-z0-9_./](?:[A-Za-z0-9_./=+,@%~-]|:(?=[A-Za-z0-9_./]))*")
_BEYOND = re.compile('[^\\x20-\\x7e]|["\\\\]')
_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_BEYOND_JSON = re.compile("[<>&\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def to_yaml(plain: Mapping[str, Any]) -> str:
    """One YAML document in block style, mappings in their order. Values are text, numbers, booleans, None, lists and mappings."""
    return "".join(f"{line}\n" for line in ("---", *_mapping(plain, 0)))


def to_json(plain: Mapping[str, Any]) -> str:
    """JSON on one line, as the reference implementation writes it: without blanks, `<`, `>` and `&` escaped.

    So is what YAML does not allow as it is; but not what is beyond 16 bits, which JSON would write as a pair that YAML refuses.
    """
    text = json.dumps(plain, separators=(",", ":"), ensure_ascii=False)
    return _BEYOND_JSON.sub(lambda match: f"\\u{ord(match.group()):04x}", text) + "\n"


def _mapping(mapping: Mapping[str, Any], indent: int) -> Iterator[str]:
    for key, value in mapping.items():
        yield from _entry(f"{' ' * indent}{_scalar(key)}:", value, _INDENT * (indent // _INDENT + 1))


def _entry(head: str, value: object, indent: int) -> Iterator[str]:
    if isinstance(value, dict) and value:
        yield head
        yield from _mapping(value, indent)
    elif isinstance(value, list | tuple) and value:
        yield head
        yield from _sequence(value, indent)
    else:
        yield f"{head} {_scalar(value)}"


def _sequence(sequence: Sequence[Any], indent: int) -> Iterator[str]:
    for value in sequence:
        if isinstance(value, dict) and value:
            first, *rest = _mapping(value, indent + 2)
            yield f"{' ' * indent}- {first.lstrip()}"
            yield from rest
        else:
            yield from _entry(f"{' ' * indent}-", value, indent + 2)


def _scalar(value: object) -> str:
    if isinstance(value, dict):
        return "{}"
    if isinstance(value, list | tuple):
        return "[]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return str(value)
    if _PLAIN.fullmatch(value) and resolve_plain(value) == value:
        return value
    return '"' + _BEYOND.sub(lambda match: _escaped(match.group()), value) + '"'


def _escaped(character: str) -> str:
    number = ord(character)
    if character in _ESCAPES:
        return _ESCAPES[character]
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
