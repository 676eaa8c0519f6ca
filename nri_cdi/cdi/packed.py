"""Looks and scans as bytes and back: what the reading child hands to the serving process, which never reads YAML.

A node may have ten thousand devices, of which a container needs two. So each device travels and stays as a small piece of JSON, and becomes a value
when somebody asks for it: taking over a new scan costs milliseconds, and the serving process stays small.

The bytes are those of `marshal`: both ends are the same interpreter of the same release.
"""

from __future__ import annotations

import json
import marshal
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, overload

from nri_cdi.cdi.errors import Rule, SpecError
from nri_cdi.cdi.files import DirectoryState, RejectedFile, Scan, SpecDirectory, SpecFile
from nri_cdi.cdi.look import Look, SeenFile
from nri_cdi.cdi.model import Device, Spec
from nri_cdi.cdi.plain import device_from_plain, device_to_plain, spec_from_plain, spec_to_plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nri_cdi.cdi.look import Identity, Key

HEAD: Final = b"CDI scan 2\n"
"""What the bytes begin with. Both ends are of one release, so another number is a broken installation; and `marshal` must not see anything else."""


class PackedDevices(Sequence[Device]):
    """The devices of a spec, decoded one by one when they are asked for. Equal to the tuple of them."""

    __slots__ = ("names", "pieces")

    def __init__(self, names: tuple[str, ...], pieces: tuple[bytes, ...]) -> None:
        self.names = names
        """The qualified names."""
        self.pieces = pieces

    def __len__(self) -> int:
        return len(self.pieces)

    @overload
    def __getitem__(self, at: int) -> Device: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Device, ...]: ...
    def __getitem__(self, at: int | slice) -> Device | tuple[Device, ...]:
        if isinstance(at, slice):
            return tuple(map(_unpacked, self.pieces[at]))
        return _unpacked(self.pieces[at])

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PackedDevices) and self.pieces == other.pieces:
            return self.names == other.names
        return tuple(self) == (tuple(other) if isinstance(other, PackedDevices) else other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"<{len(self)} devices>"


def names_of(spec: Spec) -> Sequence[str]:
    """The qualified names of a spec's devices, in order, without decoding them."""
    devices = spec.devices
    return devices.names if isinstance(devices, PackedDevices) else [f"{spec.kind}={device.name}" for device in devices]


def encode(scan: Scan) -> bytes:
    """The scan as bytes (paths that are not UTF-8 survive)."""
    return HEAD + marshal.dumps(
        ([_directory(directory) for directory in scan.directories], [_content(file) for file in scan.files])
    )


def decode(data: bytes) -> Scan:
    """The scan of what `encode` wrote. Raises ValueError for anything else."""
    directories, files = _loaded(data, 2)
    try:
        return Scan(tuple(_directory_from(*part) for part in directories), tuple(map(_content_from, files)))
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"not an encoded scan: {error!r}") from error


def encode_look(look: Look) -> bytes:
    """The look as bytes."""
    files = [
        (file.path, file.priority, file.identity, file.settled, file.content and _content(file.content), file.links)
        for file in look.files
    ]
    return HEAD + marshal.dumps(([_directory(directory) for directory in look.directories], look.identities, files))


def decode_look(data: bytes) -> Look:
    """The look of what `encode_look` wrote. Raises ValueError for anything else."""
    directories, identities, files = _loaded(data, 3)
    try:
        return Look(
            tuple(_directory_from(*part) for part in directories),
            tuple(identities),
            tuple(
                [
                    SeenFile(path, priority, identity, settled, content and _content_from(content), links)
                    for path, priority, identity, settled, content, links in files
                ]
            ),
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"not an encoded look: {error!r}") from error


def encode_known(known: Mapping[Key, Identity]) -> bytes:
    """What need not be read again, for the reading process."""
    return HEAD + marshal.dumps((dict(known),))


def decode_known(data: bytes) -> dict[Key, Identity]:
    """What `encode_known` wrote. Raises ValueError for anything else."""
    (known,) = _loaded(data, 1)
    if not isinstance(known, dict):
        raise ValueError("not what is known of files")
    return known


def _loaded(data: bytes, parts: int) -> Any:  # noqa: ANN401 - a tuple of that many parts, of any types
    if not data.startswith(HEAD):
        raise ValueError(
            f"not an encoded scan, it begins with {bytes(data[: len(HEAD)])!r}; are the two processes of one release?"
        )
    try:
        loaded: object = marshal.loads(memoryview(data)[len(HEAD) :])  # noqa: S302 - our own child wrote it
    except (EOFError, ValueError, TypeError) as error:
        raise ValueError(f"not an encoded scan: {error!r}") from error
    if not isinstance(loaded, tuple) or len(loaded) != parts:
        raise ValueError("not an encoded scan")
    return loaded


def _directory(directory: SpecDirectory) -> tuple[object, ...]:
    return directory.path, directory.priority, directory.state.value, directory.error and _fault(directory.error)


def _directory_from(path: str, priority: int, state: str, error: Any) -> SpecDirectory:  # noqa: ANN401 - a fault's fields
    return SpecDirectory(path, priority, DirectoryState(state), None if error is None else _fault_from(error))


def _content(file: SpecFile | RejectedFile) -> tuple[object, ...]:
    if isinstance(file, RejectedFile):
        return False, file.path, file.priority, file.kind, [_fault(error) for error in file.errors]
    spec = file.spec
    frame = json.dumps(spec_to_plain(Spec(spec.version, spec.kind, (), spec.edits, spec.annotations)))
    pieces = tuple(json.dumps(device_to_plain(device), separators=(",", ":")).encode() for device in spec.devices)
    return True, file.path, file.priority, frame, tuple(names_of(spec)), pieces, [_fault(e) for e in file.warnings]


def _content_from(parts: tuple[Any, ...]) -> SpecFile | RejectedFile:
    valid, path, priority, *rest = parts
    if not valid:
        kind, errors = rest
        return RejectedFile(path, priority, tuple(map(_fault_from, errors)), kind)
    frame, names, pieces, warnings = rest
    spec = spec_from_plain(json.loads(frame))
    devices = PackedDevices(names, pieces)
    return SpecFile(
        path,
        priority,
        Spec(spec.version, spec.kind, devices, spec.edits, spec.annotations),
        tuple(map(_fault_from, warnings)),
    )


def _unpacked(piece: bytes) -> Device:
    return device_from_plain(json.loads(piece))


def _fault(error: SpecError) -> tuple[object, ...]:
    rule, value = error.rule.value, error.value
    return error.path, error.line, error.column, error.json_path, rule, value, error.message, error.hint


def _fault_from(parts: tuple[Any, ...]) -> SpecError:
    path, line, column, json_path, rule, value, message, hint = parts
    return SpecError(path, line, column, json_path, Rule(rule), value, message, hint)
