"""The entries of a mapping: merge keys followed, keys as text, duplicates reported; strict as the reference implementation is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from nri_cdi.cdi.document import DEPTH_MAX, Alias, Mapping, Node, Scalar, Sequence, content
from nri_cdi.cdi.errors import Rule
from nri_cdi.cdi.scalars import BadScalar, key_text

Entry = tuple[str, Node, Node]
"""The key as text, the key's node, the value's node."""

Seen = dict[tuple[type, object], Node]
"""The decoded keys so far: 1, 1.0, true and "1" are different keys."""

Report = Callable[[Node, str, str, Rule], None]
"""Called for each fault: node, message, hint, rule."""

_MERGE_TAG: Final = "tag:yaml.org,2002:merge"
# The two letters outside ASCII whose simple case folding is an ASCII letter: the Kelvin sign and the long s.
_FOLDED: Final = str.maketrans({"\u212a": "k", "\u017f": "s"})


def fold(key: str) -> str:
    """The key as it is compared with field names: case does not count."""
    return key.translate(_FOLDED).lower()


def entries(mapping: Mapping, report: Report) -> list[Entry]:
    """All entries in order, merged ones included. A key that is set already (by a merge too) is reported and left out."""
    found: list[Entry] = []
    _collect(mapping, found, {}, report, 0)
    return found


def _collect(mapping: Mapping, found: list[Entry], seen: Seen, report: Report, depth: int) -> None:
    children = iter(mapping.children)
    for key_node, value in zip(children, children, strict=True):
        if _is_merge(key_node):
            _merge(value, found, seen, report, depth + 1)
            continue
        key = content(key_node)
        if not isinstance(key, Scalar):
            report(key_node, "a list or mapping cannot be a key", "use text as the key", Rule.TYPE)
            continue
        try:
            decoded = key.value()
            text = key_text(decoded)
        except BadScalar as error:
            report(key_node, f'"{key.text}" {error}', "put the key in quotes", Rule.TYPE)
            continue
        identity = (type(decoded), decoded)
        if identity in seen:
            other = seen[identity]
            report(
                key_node,
                f'the key "{key.text}" is set already at line {other.line}, column {other.column}',
                "remove one of the two (a merged key counts as set)",
                Rule.DUPLICATE_KEY,
            )
            continue
        seen[identity] = key_node
        found.append((text, key_node, value))


def _is_merge(key: Node) -> bool:
    return isinstance(key, Scalar) and key.text == "<<" and (key.plain or key.tag == _MERGE_TAG)


def _merge(value: Node, found: list[Entry], seen: Seen, report: Report, depth: int) -> None:
    inner = content(value)
    if depth > DEPTH_MAX:
        report(value, f"merged through more than {DEPTH_MAX} mappings", "write the fields out", Rule.SYNTAX)
        return
    # A list may be merged only where it stands, not through an alias; of several mappings the last is merged first.
    merged = reversed(inner.children) if isinstance(inner, Sequence) and not isinstance(value, Alias) else (value,)
    for node in merged:
        mapping = content(node)
        if isinstance(mapping, Mapping):
            _collect(mapping, found, seen, report, depth)
        else:
            report(node, "only mappings can be merged", "merge a mapping or a list of mappings", Rule.TYPE)
