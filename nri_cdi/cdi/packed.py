"""Looks as bytes and back: what the reading child hands to the serving process, which never reads YAML.

A node may have ten thousand devices, of which a container needs two. So each device travels and stays as a small piece of JSON, and becomes a value
when somebody asks for it: taking over what changed costs milliseconds, and the serving process stays small. A look comes in frames of a moderate size,
because whoever unpacks one holds the interpreter lock as long as that takes.

The bytes are those of `marshal`: both ends are the same interpreter of the same release.
"""

from __future__ import annotations

import json
import marshal
from collections.abc import Sequence
from itertools import accumulate, count, islice
from typing import TYPE_CHECKING, Any, Final, overload

from nri_cdi.cdi.blocks import Block, Judged
from nri_cdi.cdi.errors import Rule, SpecError
from nri_cdi.cdi.files import DirectoryState, RejectedFile, SpecDirectory, SpecFile
from nri_cdi.cdi.look import Look, SeenFile
from nri_cdi.cdi.model import Device, Spec
from nri_cdi.cdi.plain import device_from_plain, device_to_plain, spec_from_plain, spec_to_plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nri_cdi.cdi.look import Identity, Key, Memory

HEAD: Final = b"CDI look 4\n"
"""What each frame begins with. Both ends are of one release, so another number is a broken installation; and `marshal` must not see anything else."""

FRAME: Final = 1 << 16
"""Bytes of devices after which a frame is full: unpacking it takes less than half a millisecond."""

_encoded: Final = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode
"""Sorted, so that devices are equal exactly if their pieces are."""


class PackedDevices(Sequence[Device]):
    """The devices of a spec, decoded one by one when they are asked for. Equal to the tuple of them."""

    __slots__ = ("blocks", "numbers", "pieces")

    def __init__(self, numbers: dict[str, int], pieces: tuple[bytes, ...], blocks: tuple[Block, ...] = ()) -> None:
        self.numbers = numbers
        """The place of each device, by its qualified name."""
        self.pieces = pieces
        self.blocks = blocks
        """All of them by the block, or nothing (see `blocks`)."""

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
        if isinstance(other, PackedDevices):
            return self.pieces == other.pieces and self.numbers == other.numbers
        return tuple(self) == other

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"<{len(self)} devices>"


def numbers_of(spec: Spec) -> Mapping[str, int]:
    """The place of each of a spec's devices by its qualified name, in their order, without decoding them."""
    devices = spec.devices
    if isinstance(devices, PackedDevices):
        return devices.numbers
    return {f"{spec.kind}={device.name}": number for number, device in enumerate(devices)}


def same_devices(one: Spec, other: Spec) -> Iterator[str]:
    """The qualified names of equal devices of two specs. Nothing is decoded for it where both are packed."""
    numbers = numbers_of(other)
    mine: Sequence[object] = one.devices
    theirs: Sequence[object] = other.devices
    if isinstance(mine, PackedDevices) and isinstance(theirs, PackedDevices):
        mine, theirs = mine.pieces, theirs.pieces
    for name, device in zip(numbers_of(one), mine, strict=True):
        if (at := numbers.get(name)) is not None and device == theirs[at]:
            yield name


def encode_look(look: Look) -> Iterator[bytes]:
    """The look as frames (paths that are not UTF-8 survive), for an `Unpacker`."""
    records: list[tuple[object, ...]] = [("look", [*map(_directory, look.directories)], look.identities)]
    size = 0
    for file in look.files:
        content = file.content
        blocks = [block if isinstance(block, int) else tuple(block) for block in file.blocks]
        records.append(("file", file.path, file.priority, file.identity, file.settled, *_content(content), blocks))
        if isinstance(content, RejectedFile):
            continue
        names: list[str] = []
        pieces: list[bytes] = []
        for name, device in zip(numbers_of(content.spec), content.spec.devices, strict=True):
            names.append(name)
            pieces.append(_encoded(device_to_plain(device)).encode())
            size += len(name) + len(pieces[-1])
            if size > FRAME:
                yield _dumped([*records, ("devices", names, pieces)])
                records, names, pieces, size = [], [], [], 0
        records.append(("devices", names, pieces))
    yield _dumped([*records, ("end", look.gone, look.linked)])


class Unpacker:
    """Puts one look together from its frames, and from the contents that its question told of."""

    def __init__(self, contents: Mapping[Key, SpecFile | RejectedFile]) -> None:
        self._contents = contents
        self._head: tuple[tuple[SpecDirectory, ...], tuple[Identity | None, ...]] | None = None
        self._files: list[SeenFile] = []
        self._open: tuple[Any, ...] | None = None  # the record of a valid file whose devices are coming
        self._numbers: dict[str, int] = {}
        self._pieces: list[bytes] = []

    def take(self, frame: bytes) -> Look | None:
        """The look, if this is its last frame. Raises ValueError for anything that `encode_look` does not write."""
        try:
            for kind, *parts in _loaded(frame):
                if kind == "devices":
                    names, pieces = parts
                    self._numbers.update(zip(names, count(len(self._pieces))))
                    self._pieces += pieces
                    continue
                self._close()
                if kind == "file":
                    self._file(*parts)
                elif kind == "look":
                    directories, identities = parts
                    self._head = tuple(_directory_from(*one) for one in directories), tuple(identities)
                elif kind == "end" and self._head is not None:
                    gone, linked = parts
                    return Look(*self._head, tuple(self._files), frozenset(gone), tuple(linked))
                else:
                    raise ValueError(f"a record of the kind {kind!r}")
        except (TypeError, ValueError, AttributeError, LookupError) as error:
            raise ValueError(f"not an encoded look: {error}") from error
        return None

    def _file(self, *parts: Any) -> None:  # noqa: ANN401 - the fields of a record, of all types
        path, priority, identity, settled, valid, *content, _ = parts
        if valid:
            self._open = parts
        else:
            kind, errors = content
            rejected = RejectedFile(path, priority, tuple(map(_fault_from, errors)), kind)
            self._files.append(SeenFile(path, priority, identity, settled, rejected))

    def _close(self) -> None:
        """The devices of the file that was open are complete."""
        if self._open is None:
            return
        path, priority, identity, settled, _, frame, warnings, blocks = self._open
        spec = spec_from_plain(json.loads(frame))
        devices = self._devices(blocks, self._contents.get((priority, path)))
        content = SpecFile(
            path,
            priority,
            Spec(spec.version, spec.kind, devices, spec.edits, spec.annotations),
            tuple(map(_fault_from, warnings)),
        )
        self._files.append(SeenFile(path, priority, identity, settled, content))
        self._open, self._numbers, self._pieces = None, {}, []

    def _devices(self, blocks: Sequence[Any], before: SpecFile | RejectedFile | None) -> PackedDevices:
        """The devices that came, and between them those that are as `before`."""
        if not any(isinstance(one, int) for one in blocks):
            return PackedDevices(self._numbers, tuple(self._pieces), tuple(Block(*one) for one in blocks))
        all_blocks: list[Block] = []
        numbers: dict[str, int] = {}
        pieces: list[bytes] = []
        new_names, new_pieces = iter(self._numbers), iter(self._pieces)
        known = before.spec.devices if isinstance(before, SpecFile) else ()
        earlier = known if isinstance(known, PackedDevices) else PackedDevices({}, ())
        names = list(earlier.numbers)
        ends = list(accumulate(block.devices for block in earlier.blocks))
        for one in blocks:
            if isinstance(one, int):
                block, end = earlier.blocks[one], ends[one]
                start = end - block.devices
                numbers.update(zip(names[start:end], count(len(pieces))))
                pieces += earlier.pieces[start:end]
            else:
                block = Block(*one)
                numbers.update(zip(islice(new_names, block.devices), count(len(pieces))))
                pieces += islice(new_pieces, block.devices)
            all_blocks.append(block)
        return PackedDevices(numbers, tuple(pieces), tuple(all_blocks))


def encode_known(memory: Memory) -> bytes:
    """What need not be read again, for the reading process."""
    judged = []
    for key, file in memory.contents.items():
        if isinstance(file, SpecFile) and (blocks := _blocks(file)):
            judged.append((key, file.spec.version, file.spec.kind, [*map(tuple, blocks)]))
    return _dumped([("known", dict(memory.read), judged)])


def decode_known(data: bytes) -> tuple[dict[Key, Identity], dict[Key, Judged]]:
    """What `encode_known` wrote: the files, and what was judged of files with many devices. Raises ValueError for anything else."""
    match _loaded(data):
        case [("known", dict(known), list(judged))]:
            return known, {
                key: Judged(version, kind, tuple(Block(*block) for block in blocks))
                for key, version, kind, blocks in judged
            }
    raise ValueError("not what is known of files")


def _blocks(file: SpecFile) -> tuple[Block, ...]:
    devices = file.spec.devices
    return devices.blocks if isinstance(devices, PackedDevices) else ()


def _dumped(records: list[tuple[object, ...]]) -> bytes:
    return HEAD + marshal.dumps(records)


def _loaded(data: bytes) -> list[tuple[Any, ...]]:
    if not data.startswith(HEAD):
        raise ValueError(f"it begins with {data[: len(HEAD)]!r}; are the two processes of one release?")
    try:
        loaded: object = marshal.loads(memoryview(data)[len(HEAD) :])  # noqa: S302 - our own child wrote it
    except EOFError as error:
        raise ValueError("its end is missing") from error
    if not isinstance(loaded, list):
        raise ValueError(f"a {type(loaded).__name__} instead of records")
    return loaded


def _directory(directory: SpecDirectory) -> tuple[object, ...]:
    return directory.path, directory.priority, directory.state.value, directory.error and _fault(directory.error)


def _directory_from(path: str, priority: int, state: str, error: Any) -> SpecDirectory:  # noqa: ANN401 - a fault's fields
    return SpecDirectory(path, priority, DirectoryState(state), None if error is None else _fault_from(error))


def _content(file: SpecFile | RejectedFile) -> tuple[object, ...]:
    """Whether it is valid, and all about it but its place and its devices."""
    if isinstance(file, RejectedFile):
        return False, file.kind, [_fault(error) for error in file.errors]
    spec = file.spec
    frame = json.dumps(spec_to_plain(Spec(spec.version, spec.kind, (), spec.edits, spec.annotations)))
    return True, frame, [_fault(warning) for warning in file.warnings]


def _unpacked(piece: bytes) -> Device:
    return device_from_plain(json.loads(piece))


def _fault(error: SpecError) -> tuple[object, ...]:
    rule, value = error.rule.value, error.value
    return error.path, error.line, error.column, error.json_path, rule, value, error.message, error.hint


def _fault_from(parts: tuple[Any, ...]) -> SpecError:
    path, line, column, json_path, rule, value, message, hint = parts
    return SpecError(path, line, column, json_path, Rule(rule), value, message, hint)
