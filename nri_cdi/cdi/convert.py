"""The node tree of a spec file as a `Spec`: fields and their types, with the reference implementation's coercions.

Every wrong field becomes a fault and an empty value, so that one look finds all of them; a `Spec` that comes with faults is for
finding more of them, not for use. Keys match their field in any case. Where two spellings name one field, the reference applies
both in the order of their bytes, the later one onto the earlier; that is why everything here takes a list of nodes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from nri_cdi.cdi import nearest
from nri_cdi.cdi.document import Content, Mapping, Node, Scalar, Sequence, content
from nri_cdi.cdi.errors import Rule, listed
from nri_cdi.cdi.mapping import Entry, entries, fold
from nri_cdi.cdi.model import (
    NO_ANNOTATIONS,
    NO_EDITS,
    ContainerEdits,
    Device,
    DeviceNode,
    Hook,
    IntelRdt,
    Mount,
    NetDevice,
    Spec,
)
from nri_cdi.cdi.scalars import INT64_MAX, INT64_MIN, BadScalar, text_of, whole_number
from nri_cdi.cdi.validate import Fault
from nri_cdi.cdi.versions import Place

UINT32_MAX: Final = 2**32 - 1

_HINTS_MAX: Final = 100
"""Of one file: nobody reads more, and comparing names takes its time."""

Nodes = list[Node]


@dataclass(frozen=True, slots=True)
class PlacedFault:
    """A fault and its line and column in the text."""

    fault: Fault
    line: int
    column: int


class Converter:
    """Collects the faults of one conversion."""

    def __init__(self) -> None:
        self.faults: list[PlacedFault] = []

    def spec(self, root: Content) -> Spec:
        """The spec of a document that is there and not null."""
        return Spec(**self._fields(_SPEC, [root], ()))

    def _fault(self, node: Node, place: Place, rule: Rule, message: str, hint: str) -> None:
        inner = content(node)
        value = inner.text if isinstance(inner, Scalar) else None
        self.faults.append(PlacedFault(Fault(place, rule, value, message, hint), node.line, node.column))

    def _value(self, node: Node, place: Place) -> Any:  # noqa: ANN401 - a scalar's value, or the node itself if it is none
        inner = content(node)
        if not isinstance(inner, Scalar):
            return inner
        try:
            return inner.value()
        except BadScalar as error:
            self._fault(node, place, Rule.TYPE, f'"{inner.text}" {error}', "correct the value or remove the tag")
            return None

    def _mistyped(self, node: Node, place: Place, wanted: str) -> None:
        inner = content(node)
        found = (
            "a list"
            if isinstance(inner, Sequence)
            else "a mapping"
            if isinstance(inner, Mapping)
            else f'"{inner.text}"'
        )
        self._fault(node, place, Rule.TYPE, f"{found} is not {wanted}", f"write {wanted} here")

    def _entries(self, mapping: Mapping, place: Place) -> list[Entry]:
        return entries(mapping, lambda node, message, hint, rule: self._fault(node, place, rule, message, hint))

    def _fields(self, table: _Table, nodes: Nodes, place: Place) -> dict[str, Any]:
        """The constructor arguments for the fields that are there."""
        found: dict[str, Nodes] = {}
        for node in nodes:
            value = self._value(node, place)
            if isinstance(value, Mapping):
                self._gather(table, value, place, found)
            elif value is not None:
                self._mistyped(node, place, "a mapping")
        arguments: dict[str, Any] = {}
        for name, parts in found.items():
            attribute, convert = table.fields[name]
            arguments[attribute] = convert(self, parts, (*place, name))
        for name, attribute in table.needed:
            arguments.setdefault(attribute, table.empty[name])
        return arguments

    def _gather(self, table: _Table, mapping: Mapping, place: Place, found: dict[str, Nodes]) -> None:
        spelled: dict[str, list[tuple[str, Node]]] = {}
        for key, key_node, value in self._entries(mapping, place):
            name = key if key in table.fields else table.folded.get(fold(key))
            if name is None:
                close = nearest.to(key, table.fields) if len(self.faults) < _HINTS_MAX else ()
                hint = (
                    f"did you mean {' or '.join(close)}?"
                    if close
                    else f"the fields here are {listed(tuple(table.fields))}"
                )
                self._fault(key_node, (*place, key), Rule.UNKNOWN_FIELD, f'there is no field "{key}" here', hint)
            elif name in spelled:
                spelled[name].append((key, value))
            else:
                spelled[name] = [(key, value)]
        for name, parts in spelled.items():
            if len(parts) > 1:
                parts.sort(key=lambda part: part[0])
            found.setdefault(name, []).extend([value for _, value in parts])

    def text(self, nodes: Nodes, place: Place) -> str:
        """Text, or a number or boolean as text; null leaves the field alone."""
        text = ""
        for node in nodes:
            value = self._value(node, place)
            if isinstance(value, Sequence | Mapping):
                self._mistyped(node, place, "text")
            elif value is not None:
                text = text_of(value)
        return text

    def integer(self, nodes: Nodes, place: Place, low: int, high: int) -> int | None:
        """A whole number in range, in whatever way it is written; None if the last word on it is null."""
        number = None
        for node in nodes:
            value = self._value(node, place)
            number = None if value is None else self._number(value, node, place, low, high)
        return number

    def _number(self, value: object, node: Node, place: Place, low: int, high: int) -> int | None:
        whole = value if type(value) is int else whole_number(value) if isinstance(value, float) else None
        if whole is None:
            self._mistyped(node, place, "a whole number")
        elif not low <= whole <= high or (low == 0 and str(value) == "-0.0"):
            self._fault(node, place, Rule.RANGE, f"{value} is out of range", f"use a number from {low} to {high}")
        return whole

    def boolean(self, nodes: Nodes, place: Place) -> bool:
        """A YAML boolean; null leaves the field alone."""
        flag = False
        for node in nodes:
            value = self._value(node, place)
            if isinstance(value, bool):
                flag = value
            elif value is not None:
                self._mistyped(node, place, "true or false")
        return flag

    def items(self, nodes: Nodes, place: Place, convert: Convert) -> tuple[Any, ...] | None:
        """The elements of a list, each converted with the elements of earlier spellings at its index; None if it is null."""
        current: list[Nodes] | None = None
        for node in nodes:
            value = self._value(node, place)
            if isinstance(value, Sequence):
                before = current or []
                current = [[*(before[i] if i < len(before) else ()), child] for i, child in enumerate(value.children)]
                self._discard(before[len(current) :], place, convert)
            elif value is None:
                self._discard(current or [], place, convert)
                current = None
            else:
                self._mistyped(node, place, "a list")
        return None if current is None else tuple([convert(self, item, (*place, i)) for i, item in enumerate(current)])

    def _discard(self, items: list[Nodes], place: Place, convert: Convert) -> None:
        """Look for faults in what a later spelling throws away. An empty entry does no harm there."""
        known = len(self.faults)
        for item in items:
            convert(self, item, place)
        self.faults[known:] = [placed for placed in self.faults[known:] if placed.fault.rule is not Rule.NULL_ENTRY]

    def mapping(self, nodes: Nodes, place: Place) -> dict[str, str]:
        """A mapping of text to text; null empties it."""
        merged: dict[str, str] = {}
        for node in nodes:
            value = self._value(node, place)
            if isinstance(value, Mapping):
                for key, _, part in self._entries(value, place):
                    merged[key] = self.text([part], (*place, key))
            elif value is None:
                merged = {}
            else:
                self._mistyped(node, place, "a mapping")
        return merged

    def record(self, make: Callable[..., Any], table: _Table, nodes: Nodes, place: Place) -> Any:  # noqa: ANN401 - a model value
        """One value of the model."""
        return make(**self._fields(table, nodes, place))

    def entry(self, make: Callable[..., Any], table: _Table, nodes: Nodes, place: Place) -> Any:  # noqa: ANN401 - as above
        """An entry of a list whose entries must be there: the reference implementation crashes on a null."""
        layers = self.present(table, nodes, place)
        if not layers:
            self._fault(
                nodes[-1], place, Rule.NULL_ENTRY, "the entry is empty (null)", "fill it in, or remove the line"
            )
        return self.record(make, table, layers, place)

    def present(self, table: _Table, nodes: Nodes, place: Place) -> Nodes:
        """The nodes behind the last null, which throws the earlier ones away."""
        layers: Nodes = []
        for node in nodes:
            if self._value(node, place) is None:
                self._discard(
                    [layers] if layers else [], place, lambda _, item, where: self._fields(table, item, where)
                )
                layers = []
            else:
                layers.append(node)
        return layers


Convert = Callable[[Converter, Nodes, Place], Any]


class _Table:
    """The fields of one mapping of the specification: JSON name to attribute and conversion. `needed` have no default in the model."""

    def __init__(self, needed: tuple[str, ...], **fields: tuple[str, Convert]) -> None:
        self.fields = fields
        self.folded = {fold(name): name for name in fields}
        self.needed = tuple((name, fields[name][0]) for name in needed)
        self.empty = dict.fromkeys(needed, "")


def _integer(low: int, high: int) -> Convert:
    return lambda converter, nodes, place: converter.integer(nodes, place, low, high)


def _number(low: int, high: int) -> Convert:
    """A number that is zero when it is absent. Null leaves an earlier spelling's number alone."""

    def convert(converter: Converter, nodes: Nodes, place: Place) -> int:
        numbers = [converter.integer([node], place, low, high) for node in nodes]
        return next((number for number in reversed(numbers) if number is not None), 0)

    return convert


def _list(convert: Convert) -> Convert:
    return lambda converter, nodes, place: converter.items(nodes, place, convert) or ()


def _records(make: Callable[..., Any], table: _Table) -> Convert:
    return _list(lambda converter, nodes, place: converter.record(make, table, nodes, place))


def _entries_of(make: Callable[..., Any], table: _Table) -> Convert:
    return _list(lambda converter, nodes, place: converter.entry(make, table, nodes, place))


def _strings_or_none(converter: Converter, nodes: Nodes, place: Place) -> tuple[str, ...] | None:
    return converter.items(nodes, place, Converter.text)


def _rdt(converter: Converter, nodes: Nodes, place: Place) -> IntelRdt | None:
    layers = converter.present(_INTEL_RDT, nodes, place)
    return converter.record(IntelRdt, _INTEL_RDT, layers, place) if layers else None


def _edits(converter: Converter, nodes: Nodes, place: Place) -> ContainerEdits:
    edits: ContainerEdits = converter.record(ContainerEdits, _EDITS, nodes, place)
    return edits if edits != NO_EDITS else NO_EDITS


def _annotations(converter: Converter, nodes: Nodes, place: Place) -> Any:  # noqa: ANN401 - a mapping, under two names in here
    annotations = converter.mapping(nodes, place)
    return MappingProxyType(annotations) if annotations else NO_ANNOTATIONS


_TEXT: Final[Convert] = Converter.text
_ID: Final = _integer(0, UINT32_MAX)
_INT64: Final = _number(INT64_MIN, INT64_MAX)
_STRINGS: Final = _list(_TEXT)

_DEVICE_NODE: Final = _Table(
    ("path",),
    path=("path", _TEXT),
    hostPath=("host_path", _TEXT),
    type=("type", _TEXT),
    major=("major", _INT64),
    minor=("minor", _INT64),
    fileMode=("file_mode", _ID),
    permissions=("permissions", _TEXT),
    uid=("uid", _ID),
    gid=("gid", _ID),
)
_NET_DEVICE: Final = _Table(
    ("hostInterfaceName", "name"), hostInterfaceName=("host_interface_name", _TEXT), name=("name", _TEXT)
)
_HOOK: Final = _Table(
    ("hookName", "path"),
    hookName=("hook_name", _TEXT),
    path=("path", _TEXT),
    args=("args", _STRINGS),
    env=("env", _STRINGS),
    timeout=("timeout", _integer(INT64_MIN, INT64_MAX)),
)
_MOUNT: Final = _Table(
    ("hostPath", "containerPath"),
    hostPath=("host_path", _TEXT),
    containerPath=("container_path", _TEXT),
    options=("options", _STRINGS),
    type=("type", _TEXT),
)
_INTEL_RDT: Final = _Table(
    (),
    closID=("clos_id", _TEXT),
    l3CacheSchema=("l3_cache_schema", _TEXT),
    memBwSchema=("mem_bw_schema", _TEXT),
    schemata=("schemata", _strings_or_none),
    enableMonitoring=("enable_monitoring", Converter.boolean),
)
_EDITS: Final = _Table(
    (),
    env=("env", _STRINGS),
    deviceNodes=("device_nodes", _entries_of(DeviceNode, _DEVICE_NODE)),
    netDevices=("net_devices", _entries_of(NetDevice, _NET_DEVICE)),
    hooks=("hooks", _entries_of(Hook, _HOOK)),
    mounts=("mounts", _entries_of(Mount, _MOUNT)),
    intelRdt=("intel_rdt", _rdt),
    additionalGids=("additional_gids", _list(_number(0, UINT32_MAX))),
)
_DEVICE: Final = _Table(
    ("name",), name=("name", _TEXT), annotations=("annotations", _annotations), containerEdits=("edits", _edits)
)
_SPEC: Final = _Table(
    ("cdiVersion", "kind"),
    cdiVersion=("version", _TEXT),
    kind=("kind", _TEXT),
    annotations=("annotations", _annotations),
    devices=("devices", _records(Device, _DEVICE)),
    containerEdits=("edits", _edits),
)
