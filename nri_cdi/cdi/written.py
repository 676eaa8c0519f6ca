"""Spec files as programs write them: plain JSON, of which nothing has to be guessed, read without a YAML reader and several times as fast.

JSON is not quite YAML, so this takes only what both read alike, and only what is right. Everything else is left to `document` and `convert`, which know what
the reference implementation makes of it, and where a fault is: escapes, other characters than printable ASCII, null, numbers that are not small and whole,
fields in another spelling, values of another type, keys given twice.

Of a file with many devices only those are read that it had not when it was read before (see `blocks`).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from hashlib import blake2b
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from nri_cdi.cdi.blocks import UNKNOWN, Block
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

    from nri_cdi.cdi.blocks import Judged

    Convert = Callable[[Any], Any]  # of a JSON value

_PRINTABLE: Final = re.compile(rb"[\n ]*\{[\n -\[\]-~]*")
"""An object, in printable ASCII without a backslash."""

_LOOSE_COLONS: Final = b" :", b"\n:"
"""YAML wants a key and its colon on one line."""

_DEVICES: Final = re.compile(r'"devices":[ \n]*\[[ \n]*')
_COMMA: Final = re.compile(r"[ \n]*,[ \n]*")

DEVICES: Final = 64
"""In a block: so many are read again for one that changed, and files with fewer have no blocks."""

_HEAD: Final = 256
"""Bytes by which it is seen that a block may stand somewhere."""

_DIGEST: Final = 32
"""Bytes. The text of a block is found again by it alone, so no two texts may have one: not even two that somebody looked for."""

_DIGITS_MAX: Final = 9
"""Of a number: it is in the range of every field then."""

_KEY_MAX: Final = 256
"""Characters of an annotation's key: YAML gives up on longer ones, at four times as many."""


class _Unusual(Exception):
    """Something that YAML may read differently, or that is wrong."""


@dataclass(frozen=True, slots=True)
class Written:
    """A spec as it is written, its rules not checked.

    `blocks` are its devices if there are many, in order: a block of some that are in `spec`, or the number of a block that was judged before. The devices of
    such a one are not in `spec`, whose last device is that of the file all the same.
    """

    spec: Spec
    blocks: tuple[Block | int, ...] = ()


def read(data: bytes, judged: Judged = UNKNOWN) -> Written | None:
    """The spec, but for what was `judged` before; None where `document` has to read."""
    if not _PRINTABLE.fullmatch(data) or any(colon in data for colon in _LOOSE_COLONS):
        return None
    try:
        written = _read(data, judged)
    except (_Unusual, ValueError, TypeError, KeyError, RecursionError):
        return None
    kept = [judged.blocks[block] for block in written.blocks if isinstance(block, int)]
    if kept:
        spec = written.spec
        names = [name for block in kept for name in block.names.split(" ")] + [device.name for device in spec.devices]
        if (spec.version, spec.kind) != (judged.version, judged.kind) or len(set(names)) < len(names):
            return read(data)
    return written


def _read(data: bytes, judged: Judged) -> Written:
    text = data.decode()
    found = _DEVICES.search(text)
    if found is None:
        raise _Unusual
    devices, blocks, end = _devices(data, text, found.end(), judged)
    # The rest is short. It is usual only if these were the devices of the spec, for no other field has that name.
    root = _DECODER.decode(text[: found.end()] + text[end:])
    if root["devices"]:
        raise _Unusual
    spec: Spec = _SPEC(root)
    return Written(Spec(spec.version, spec.kind, devices, spec.edits, spec.annotations), blocks)


def _devices(
    data: bytes, text: str, at: int, judged: Judged
) -> tuple[tuple[Device, ...], tuple[Block | int, ...], int]:
    """The devices that begin at `at`, as in `Written`, and where the last one ends."""
    heads = {block.head: number for number, block in enumerate(judged.blocks)}
    devices: list[Device] = []
    blocks: list[Block | int] = []
    names: list[str] = []  # of the block that begins at `start`
    start = end = at
    while True:
        # Each block is compared once only: many devices may begin alike.
        number = heads.pop(_head(data, at), None) if heads else None
        behind = _stands_at(judged.blocks[number], data, at) if number is not None else None
        comma = _COMMA.match(text, behind) if behind is not None else None  # the last device is read in any case
        if number is not None and comma is not None:
            if names:
                blocks.append(_block(data, start, end, names))
            blocks.append(number)
            names = []
        else:
            if not names:
                start = at
            value, end = _DECODER.raw_decode(text, at)
            device: Device = _DEVICE(value)
            devices.append(device)
            names.append(device.name)
            comma = _COMMA.match(text, end)
            if comma is None or len(names) == DEVICES:
                blocks.append(_block(data, start, end, names))
                names = []
            if comma is None:
                return tuple(devices), tuple(blocks) if len(blocks) > 1 else (), end
        at = comma.end()


def _block(data: bytes, start: int, end: int, names: list[str]) -> Block:
    """The devices with these names that stand there."""
    return Block(_head(data, start), end - start, _digest(data, start, end), " ".join(names))


def _stands_at(block: Block, data: bytes, at: int) -> int | None:
    """Where the text of the block ends, if it stands there."""
    end = at + block.size
    return end if _digest(data, at, end) == block.digest else None


def _head(data: bytes, at: int) -> int:
    return crc32(data[at : at + _HEAD])


def _digest(data: bytes, start: int, end: int) -> bytes:
    return blake2b(data[start:end], digest_size=_DIGEST).digest()


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


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_mapping, parse_int=_small, parse_float=_refuse, parse_constant=_refuse
)


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
