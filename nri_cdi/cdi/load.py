"""The content of a spec file examined: a valid `Spec`, or all its faults with their places in the text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from nri_cdi.cdi import document, written
from nri_cdi.cdi.blocks import UNKNOWN
from nri_cdi.cdi.convert import Converter, PlacedFault
from nri_cdi.cdi.document import Content, DocumentError, Mapping, Node, Scalar, Sequence, content
from nri_cdi.cdi.errors import InvalidSpec, Rule, SpecError
from nri_cdi.cdi.mapping import entries, fold
from nri_cdi.cdi.model import Spec
from nri_cdi.cdi.scalars import BadScalar
from nri_cdi.cdi.validate import Fault, json_path, validate, warnings
from nri_cdi.cdi.versions import minimum_version

if TYPE_CHECKING:
    from nri_cdi.cdi.blocks import Block, Judged
    from nri_cdi.cdi.versions import Place

_FAULTS_MAX: Final = 100
"""Of one file: who repairs the first hundred looks again, and a file made to have millions must not fill the memory."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What a spec file turned out to be.

    `spec` counts only without `errors`; with some, it is what could be made out. `is_read`: every field could be read. `blocks`, which say nothing more, are for
    who examines it again: see `written.Written`.
    """

    spec: Spec
    errors: tuple[SpecError, ...]
    warnings: tuple[SpecError, ...] = ()
    is_read: bool = True
    blocks: tuple[Block | int, ...] = field(default=(), compare=False)

    @property
    def least_version(self) -> str:
        """The cdiVersion that the features in use need; empty if a field could not be read."""
        return minimum_version(self.spec) if self.is_read else ""


def load_spec(data: bytes, path: str) -> Examined:
    """The spec in `data`, and its warnings. Raises InvalidSpec."""
    examined = examine(data, path)
    if examined.errors:
        raise InvalidSpec(examined.errors)
    return examined


def examine(data: bytes, path: str, judged: Judged = UNKNOWN) -> Examined:
    """The spec in `data`, or everything that is wrong with it: first what is not of its type, then what breaks a rule.

    Never raises for any bytes. `path` is for the texts. Devices that were `judged` before may be left out of a valid spec.
    """
    found = written.read(data, judged) if len(data) <= document.SIZE_MAX else None
    if found is None or validate(found.spec) or warnings(found.spec):  # where a fault is, only the text tells
        return examine_text(data, path)
    return Examined(found.spec, (), blocks=found.blocks)


def examine_text(data: bytes, path: str) -> Examined:
    """The same for any text, YAML or JSON, with the places of all faults."""
    try:
        root = document.read(data)
    except DocumentError as error:
        fault = SpecError(path, error.line, error.column, "", Rule.SYNTAX, None, error.message, error.hint)
        return Examined(Spec("", ""), (fault,), is_read=False)
    if root is None or _is_null(root):
        fault = SpecError(
            path, 0, 0, "", Rule.EMPTY, None, "no spec data in this file", "write a spec, or remove the file"
        )
        return Examined(Spec("", ""), (fault,), is_read=False)
    converter = Converter()
    spec = converter.spec(root)
    faults = converter.faults[:_FAULTS_MAX]
    if len(faults) < _FAULTS_MAX:  # finding the places takes its time where there are many entries
        faults = (faults + _placed(validate(spec), root, faults))[:_FAULTS_MAX]
    return Examined(
        spec,
        tuple(_error(placed, path) for placed in faults),
        () if faults else tuple(_error(placed, path) for placed in _placed(warnings(spec), root, [])),
        not converter.faults,
    )


def _is_null(root: Content) -> bool:
    try:
        return isinstance(root, Scalar) and root.value() is None
    except BadScalar:
        return False


def _error(placed: PlacedFault, path: str) -> SpecError:
    fault = placed.fault
    return SpecError(
        path, placed.line, placed.column, json_path(fault.place), fault.rule, fault.value, fault.message, fault.hint
    )


def _placed(faults: list[Fault], root: Content, known: list[PlacedFault]) -> list[PlacedFault]:
    """The faults with their places; those left out that only say again what a known fault at or above their place has said."""
    said = {placed.fault.place for placed in known}
    return [
        PlacedFault(fault, *_locate(root, fault.place))
        for fault in faults
        if not any(fault.place[:length] in said for length in range(len(fault.place) + 1))
    ]


def _locate(root: Content, place: Place) -> tuple[int, int]:
    """The line and column of a place; of the nearest node above, where the text has nothing there."""
    node: Node = root
    line, column = root.line, root.column
    for step in place:
        inner = content(node)
        if isinstance(step, int):
            if not isinstance(inner, Sequence) or step >= len(inner.children):
                break
            node = inner.children[step]
            line, column = node.line, node.column
            continue
        named = (
            []
            if not isinstance(inner, Mapping)
            else [(key, value) for text, key, value in entries(inner, lambda *_: None) if fold(text) == fold(step)]
        )
        if not named:
            break
        key, node = named[-1]
        # An empty value begins wherever the next thing does; its key is what a person looks for.
        at = key if isinstance(node, Scalar) and not node.text else node
        line, column = at.line, at.column
    return line, column
