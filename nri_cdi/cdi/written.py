"""Spec files as programs write them: plain JSON, of which nothing has to be guessed, read without a YAML reader and several times as fast.

JSON is not quite YAML, so this takes only what both read alike, and only what is right. Everything else is left to `document` and `convert`, which know what
the reference implementation makes of it, and where a fault is: escapes, other characters than printable ASCII, null, numbers that are not small and whole,
fields in another spelling, values of another type, keys given twice.
"""

from __future__ import annotations

import json
import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from nri_cdi.cdi.model import (
    NO_ANNOTATIONS,
    ContainerEdits,
    Device,
    DeviceNode,
    Hook,
    IntelRdt,
    Mount,
    NetDevice,
    Spec,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Convert = Callable[[Any], Any]  # of a JSON value

_PRINTABLE: Final = re.compile(rb"[\n ]*\{[\n -\[\]-~]*")
"""An object, in printable ASCII without a backslash."""

_LOOSE_COLON: Final = re.compile(rb"[ \n]:")
"""YAML wants a key and its colon on one line."""

_DIGITS_MAX: Final = 9
"""Of a number: it is in the range of every field then."""

_KEY_MAX: Final = 256
"""Characters of an annotation's key: YAML gives up on longer ones, at four times as many."""


class _Unusual(Exception):
    """Something that YAML may read differently, or that is wrong."""


def read(data: bytes) -> Spec | None:
    """The spec, its rules not checked; None where `document` has to read."""
    if not _PRINTABLE.fullmatch(data) or _LOOSE_COLON.search(data):
        return None
    try:
        root = json.loads(
            data, object_pairs_hook=_mapping, parse_int=_small, parse_float=_refuse, parse_constant=_refuse
        )
        spec: Spec = _SPEC(root)
    except (_Unusual, ValueError, TypeError, KeyError, RecursionError):
        return None
    return spec


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise _Unusual
    return mapping


def _small(digits: str) -> int:
    if not digits.isdecimal() or len(digits) > _DIGITS_MAX:
        raise _Unusual
    return int(digits)


def _refuse(_text: str) -> None:
    raise _Unusual


def _exactly(kind: type) -> Convert:
    def convert(value: Any) -> Any:  # noqa: ANN401 - a JSON value
        if type(value) is not kind:
            raise _Unusual
        return value

    return convert


def _list(convert: Convert) -> Convert:
    def converted(value: Any) -> tuple[Any, ...]:  # noqa: ANN401 - as above
        if type(value) is not list:
            raise _Unusual
        return tuple([convert(item) for item in value])

    return converted


def _record(make: Callable[..., Any], fields: dict[str, tuple[str, Convert]]) -> Convert:
    """A mapping as a value of the model: JSON name to attribute and conversion. What has no default there must be in it: TypeError."""

    def convert(value: Any) -> Any:  # noqa: ANN401 - as above
        if type(value) is not dict:
            raise _Unusual
        arguments = {}
        for name, item in value.items():
            attribute, converted = fields[name]
            arguments[attribute] = converted(item)
        return make(**arguments)

    return convert


def _annotations(value: Any) -> Mapping[str, str]:  # noqa: ANN401 - as above
    if type(value) is not dict or not all(type(text) is str and len(key) <= _KEY_MAX for key, text in value.items()):
        raise _Unusual
    return MappingProxyType(value) if value else NO_ANNOTATIONS


_TEXT: Final = _exactly(str)
_NUMBER: Final = _exactly(int)
_TEXTS: Final = _list(_TEXT)

_EDITS: Final = _record(
    ContainerEdits,
    {
        "env": ("env", _TEXTS),
        "deviceNodes": (
            "device_nodes",
            _list(
                _record(
                    DeviceNode,
                    {
                        "path": ("path", _TEXT),
                        "hostPath": ("host_path", _TEXT),
                        "type": ("type", _TEXT),
                        "major": ("major", _NUMBER),
                        "minor": ("minor", _NUMBER),
                        "fileMode": ("file_mode", _NUMBER),
                        "permissions": ("permissions", _TEXT),
                        "uid": ("uid", _NUMBER),
                        "gid": ("gid", _NUMBER),
                    },
                )
            ),
        ),
        "netDevices": (
            "net_devices",
            _list(_record(NetDevice, {"hostInterfaceName": ("host_interface_name", _TEXT), "name": ("name", _TEXT)})),
        ),
        "hooks": (
            "hooks",
            _list(
                _record(
                    Hook,
                    {
                        "hookName": ("hook_name", _TEXT),
                        "path": ("path", _TEXT),
                        "args": ("args", _TEXTS),
                        "env": ("env", _TEXTS),
                        "timeout": ("timeout", _NUMBER),
                    },
                )
            ),
        ),
        "mounts": (
            "mounts",
            _list(
                _record(
                    Mount,
                    {
                        "hostPath": ("host_path", _TEXT),
                        "containerPath": ("container_path", _TEXT),
                        "options": ("options", _TEXTS),
                        "type": ("type", _TEXT),
                    },
                )
            ),
        ),
        "intelRdt": (
            "intel_rdt",
            _record(
                IntelRdt,
                {
                    "closID": ("clos_id", _TEXT),
                    "l3CacheSchema": ("l3_cache_schema", _TEXT),
                    "memBwSchema": ("mem_bw_schema", _TEXT),
                    "schemata": ("schemata", _TEXTS),
                    "enableMonitoring": ("enable_monitoring", _exactly(bool)),
                },
            ),
        ),
        "additionalGids": ("additional_gids", _list(_NUMBER)),
    },
)
_DEVICE: Final = _record(
    Device, {"name": ("name", _TEXT), "annotations": ("annotations", _annotations), "containerEdits": ("edits", _EDITS)}
)
_SPEC: Final = _record(
    Spec,
    {
        "cdiVersion": ("version", _TEXT),
        "kind": ("kind", _TEXT),
        "annotations": ("annotations", _annotations),
        "devices": ("devices", _list(_DEVICE)),
        "containerEdits": ("edits", _EDITS),
    },
)
