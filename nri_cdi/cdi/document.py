"""The text of a spec file as a tree of nodes with positions: YAML 1.1, the first document only, both file extensions alike.

libyaml scans; which scalar is what, duplicate keys, merges and aliases are ours (`scalars`, `mapping`), because the reference implementation reads
them differently from PyYAML. This is the only module that imports yaml.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import Any, Final

import yaml

from nri_cdi.cdi.scalars import Value, resolve

# PyYAML without libyaml is slower, and reads the same in every spec file that a person would write. Both have get_event, all that is used.
_Parser: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)

SIZE_MAX: Final = 32 * 1024 * 1024
"""Bytes of a spec file. Ten thousand devices take two or three MiB; what is larger is no spec and would only eat memory."""

DEPTH_MAX: Final = 100
"""Nesting of a spec file: a valid spec has seven levels."""

# The reference's limits on aliases: how much of the expanded document may come from aliases, by its size in nodes.
_ALIASES_FREE: Final = 100
_NODES_FREE: Final = 1000
_RATIO_FROM: Final = 400_000
_RATIO_TO: Final = 4_000_000
_RATIO_MOST: Final = 0.99
_RATIO_LEAST: Final = 0.10

_REFUSED_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\/")
_TAG_AND_COMMA = re.compile(r"(?:&[\w-]+(?:\s|#.*)+)?!(?:<[^>]*>|(?!<)[^\s,\[\]{}]*),")
_TAG_MAX: Final = 2048
"""Characters that are looked at for the end of an anchor and a tag."""

_INDICATORS: Final = tuple("?-,[]{}#&*!|>%@`\"'")
_ENDS: Final = (yaml.MappingEndEvent, yaml.SequenceEndEvent)
_HIDDEN_COLON: Final = "\uf8ff"
"""A private-use character that stands for a colon while libyaml reads the text."""

_BOM: Final = "\ufeff"
_HIDDEN_BOM: Final = "\uf8fe"
"""Stands for a byte order mark that is not the first character: a character like any other to the reference, nothing to libyaml."""

_READINGS_MAX: Final = 64
"""Of one file: each character that must be hidden from libyaml costs one."""

_BLOCK: Final = 512
"""Bytes that the reference decodes at once."""

_DOCUMENT_MARKER = re.compile(rb"^(?:---|\.\.\.)(?=\s)", re.MULTILINE)
_BOMS: Final = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


@dataclass(slots=True, eq=False)
class Scalar:
    """A scalar. `plain`: neither quoted nor a block; `tag`: the explicit tag in full."""

    line: int
    column: int
    text: str
    plain: bool
    tag: str | None

    def value(self) -> Value:
        """What the scalar is; raises BadScalar if its tag does not fit."""
        return resolve(self.text, self.tag, plain=self.plain)


@dataclass(slots=True, eq=False)
class Alias:
    """A `*name`: its own place, and the node it stands for."""

    line: int
    column: int
    target: Scalar | Sequence | Mapping


@dataclass(slots=True, eq=False)
class Sequence:
    """A list."""

    line: int
    column: int
    children: list[Node]


@dataclass(slots=True, eq=False)
class Mapping:
    """A mapping as written: keys and values in turn, merge keys and duplicates among them."""

    line: int
    column: int
    children: list[Node]


Content = Scalar | Sequence | Mapping
Node = Content | Alias


class DocumentError(Exception):
    """The text is not YAML as a spec file may use it. Line and column count from 1."""

    def __init__(self, line: int, column: int, message: str, hint: str) -> None:
        super().__init__(message)
        self.line, self.column, self.message, self.hint = line, column, message, hint


def content(node: Node) -> Content:
    """The node itself, or what the alias stands for."""
    return node.target if isinstance(node, Alias) else node


def read(data: bytes) -> Content | None:
    """The first document of `data`; None if there is none. Raises DocumentError."""
    if len(data) > SIZE_MAX:
        raise DocumentError(1, 1, f"the file has more than {SIZE_MAX} bytes", "split it into several spec files")
    try:
        root, aliased = _compose(data)
    except yaml.reader.ReaderError as error:
        if (before := _before(data, error.position)) is not None:
            return read(before)
        line, column = _position(data, error.position)
        what = f"{error.reason} (#x{error.character:02x})" if isinstance(error.character, int) else str(error.reason)
        raise DocumentError(
            line, column, f"unreadable character: {what}", "write the file as UTF-8 without control characters"
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        what = ", ".join(part for part in (error.context, error.problem) if part)
        raise DocumentError(line, column, f"not YAML: {what}", "correct the syntax here or just above") from error
    except UnicodeError as error:
        raise DocumentError(1, 1, f"not readable text: {error}", "write the file as UTF-8") from error
    if aliased and root is not None:
        _refuse_excessive_aliasing(root)
    return root


def _compose(data: bytes) -> tuple[Content | None, bool]:
    """The tree, and whether it has aliases.

    libyaml refuses a colon at the end of an unquoted text in brackets (`[a:, b]`), skips a byte order mark at the start of any line, and ends a
    tag at a comma; to the reference they are characters like others. So they are hidden from libyaml behind characters that the text does not use.
    """
    text: str | None = None
    hidden: dict[str, str] = {}
    if b"\xef\xbb\xbf" in data[1:] or data.startswith((b"\xff\xfe", b"\xfe\xff")):
        decoded = _decoded(data)
        if _BOM in decoded and _HIDDEN_BOM not in decoded:
            text, hidden = decoded.replace(_BOM, _HIDDEN_BOM), {_HIDDEN_BOM: _BOM}
    for _ in range(_READINGS_MAX):
        composer = _Composer(data if text is None else text.encode(), hidden)
        try:
            return composer.compose(), composer.aliased
        except _CommaInTag as comma:
            # The comma is a part of a tag then, which nobody knows in either case.
            text = _with(_decoded(data) if text is None else text, comma.index, ";")
        except yaml.scanner.ScannerError as error:
            if error.problem_mark is None:
                raise
            text = _decoded(data) if text is None else text
            at = error.problem_mark.index
            if error.context == "while scanning a tag" and text[at : at + 1] in {",", "[", "]"}:
                text = _with(text, at, ";")
                continue
            is_colon = error.problem == "found unexpected ':'" and text[at : at + 1] == ":"
            if not is_colon or (_HIDDEN_COLON in text and _HIDDEN_COLON not in hidden):
                raise
            text = _with(text, at, _HIDDEN_COLON)
            hidden = {**hidden, _HIDDEN_COLON: ":"}
    raise DocumentError(
        1,
        1,
        f"more than {_READINGS_MAX} unquoted texts in brackets end in a colon, or tags in a comma",
        "put the texts in quotes, and a blank behind the tags",
    )


def _with(text: str, at: int, character: str) -> str:
    return text[:at] + character + text[at + 1 :]


class _CommaInTag(Exception):
    """libyaml ends a tag at a comma; to the reference the comma is a part of the tag, and what follows is the value."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index


class _Composer:
    """Builds the tree from the parser's events (of type Any here: PyYAML's types leave every mark optional)."""

    def __init__(self, data: bytes, hidden: dict[str, str]) -> None:
        self._data = data
        self._hidden = str.maketrans(hidden) if hidden else None
        self.aliased = False
        self._anchors: dict[str, Content] = {}
        self._open: list[Sequence | Mapping] = []
        self._flows: list[bool] = []
        self._escapes = b"\\/" in data or b"\\\0/" in data
        self._text: str | None = None

    def compose(self) -> Content | None:
        """The first document's tree; what follows it is not even looked at."""
        parser = _Parser(self._data)
        parser.get_event()  # the start of the stream
        start: Any = parser.get_event()
        if type(start) is not yaml.DocumentStartEvent:
            return None
        if start.version not in (None, (1, 1)):
            version = ".".join(map(str, start.version))
            raise _fault(start.start_mark, f"%YAML {version} is not supported", "remove the line, or write %YAML 1.1")
        root = self._node(parser.get_event())
        while self._open:
            event: Any = parser.get_event()
            if type(event) in _ENDS:
                self._open.pop()
                self._flows.pop()
            else:
                parent = self._open[-1]
                parent.children.append(self._node(event))
        parser.get_event()  # the end of the document: the parser looks for it, and may find garbage instead
        return content(root)

    def _node(self, event: Any) -> Node:  # noqa: ANN401 - see the class
        kind = type(event)
        if kind is yaml.AliasEvent:
            return self._alias(event)
        if event.tag is not None:
            self._look_for_comma(event)
        node = self._scalar(event) if kind is yaml.ScalarEvent else self._container(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _container(self, event: Any) -> Sequence | Mapping:  # noqa: ANN401 - see the class
        mark = event.start_mark
        if len(self._open) >= DEPTH_MAX:
            raise _fault(mark, f"nested deeper than {DEPTH_MAX} levels", "a spec has seven levels")
        make = Mapping if type(event) is yaml.MappingStartEvent else Sequence
        node = make(mark.line + 1, mark.column + 1, [])
        self._open.append(node)
        self._flows.append(bool(event.flow_style))
        return node

    def _scalar(self, event: Any) -> Scalar:  # noqa: ANN401 - see the class
        mark = event.start_mark
        text = event.value
        style = event.style
        if self._escapes and style == '"' and _REFUSED_ESCAPE.search(self._source(mark.index, event.end_mark.index)):
            raise _fault(mark, r"the escape \/ in a quoted text is not YAML 1.1", "write / alone")
        if (style is None or style == "") and "?" in text and self._flows and self._flows[-1]:
            text = self._key_behind_question_mark(mark, text)
        if self._hidden is not None:
            text = text.translate(self._hidden)
        return Scalar(mark.line + 1, mark.column + 1, text, event.implicit[0], event.tag)

    def _key_behind_question_mark(self, mark: Any, text: str) -> str:  # noqa: ANN401 - see the class
        """In brackets and braces a question mark always announces a key: `{?a: b}` is `{a: b}`."""
        parent = self._open[-1]
        key = text[1:].lstrip()
        is_key = isinstance(parent, Mapping) and len(parent.children) % 2 == 0
        if not is_key or text[0] != "?" or "?" in key or key.startswith(_INDICATORS):
            raise _fault(mark, f'"{text}" has a ? inside brackets or braces', "put it in quotes")
        return key

    def _look_for_comma(self, event: Any) -> None:  # noqa: ANN401 - see the class
        at = event.start_mark.index
        if self._flows and self._flows[-1] and (tag := _TAG_AND_COMMA.match(self._source(at, at + _TAG_MAX))):
            raise _CommaInTag(at + tag.end() - 1)

    def _source(self, start: int, end: int) -> str:
        if self._text is None:
            self._text = _decoded(self._data)
        return self._text[start:end]

    def _alias(self, event: Any) -> Alias:  # noqa: ANN401 - see the class
        mark = event.start_mark
        target = self._anchors.get(event.anchor)
        if target is None:
            raise _fault(
                mark,
                f"the alias *{event.anchor} has no anchor before it",
                f"write &{event.anchor} at what it stands for",
            )
        if any(target is node for node in self._open):
            raise _fault(mark, f"the anchor &{event.anchor} contains itself", "remove the alias")
        self.aliased = True
        return Alias(mark.line + 1, mark.column + 1, target)


def _before(data: bytes, position: int) -> bytes | None:
    """The first document, if it ends before the block of the unreadable byte at `position`, which then does not matter; else None.

    The reference decodes as it goes, a block at a time, and does not look at what nobody asked for.
    """
    start = 0
    while position >= start + _BLOCK - (rest := _incomplete(data[start : start + _BLOCK])):
        start += _BLOCK - rest
    for marker in _DOCUMENT_MARKER.finditer(data, 0, start):
        before = data[: marker.start()]
        with contextlib.suppress(yaml.YAMLError, UnicodeError, DocumentError):
            if _compose(before)[0] is not None:
                return before
    return None


def _incomplete(data: bytes) -> int:
    """The bytes at the end that begin a character and do not complete it."""
    for count in range(1, min(4, len(data) + 1)):
        byte = data[-count]
        if byte >= 0xC0:
            return count if byte < 0xF8 and count < (2 if byte < 0xE0 else 3 if byte < 0xF0 else 4) else 0
        if byte < 0x80:
            return 0
    return 0


def _fault(mark: Any, message: str, hint: str) -> DocumentError:  # noqa: ANN401 - see _Composer
    return DocumentError(mark.line + 1, mark.column + 1, message, hint)


def _decoded(data: bytes, errors: str = "strict") -> str:
    """The text without its byte order mark, which the parser's positions do not count."""
    encoding = next((encoding for bom, encoding in _BOMS if data.startswith(bom)), "utf-8")
    return data.decode(encoding, errors).removeprefix("\ufeff")


def _position(data: bytes, offset: int) -> tuple[int, int]:
    """Line and column of a byte, from 1."""
    before = _decoded(data[:offset], "replace")
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def _refuse_excessive_aliasing(root: Content) -> None:
    """Walk the expanded document as the reference does, and stop where it stops: a small file may stand for a huge one."""
    nodes = aliased = 0
    stack: list[tuple[Node, bool]] = [(root, False)]
    while stack:
        node, inside = stack.pop()
        nodes += 1
        aliased += inside
        if aliased > _ALIASES_FREE and nodes > _NODES_FREE and aliased / nodes > _allowed_ratio(nodes):
            raise DocumentError(node.line, node.column, "aliases make too much of this document", "write the parts out")
        if isinstance(node, Alias):
            stack.append((node.target, True))
        elif not isinstance(node, Scalar):
            stack.extend((child, inside) for child in reversed(node.children))


def _allowed_ratio(nodes: int) -> float:
    share = min(max((nodes - _RATIO_FROM) / (_RATIO_TO - _RATIO_FROM), 0.0), 1.0)
    return _RATIO_MOST - (_RATIO_MOST - _RATIO_LEAST) * share
