"""What a process of ours leaves to the next about the devices that it advertised: a small file for each resource.

The file lies beside the resource's socket, in the kubelet's device-plugins directory: the kubelet removes sockets there and keeps files, and unlike
/run the place outlives a boot, when it matters most. A file that cannot be read or written costs what it is for (devices
are not held while they settle after a boot, and another name may get the host device of one that a container has), and nothing else.

Releases add to what a file says and take nothing away: each reads what older and newer ones wrote.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pathlib
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any, Final

from nri_cdi.cdi import DeviceNode
from nri_cdi.kubelet.candidates import Candidate, host_path
from nri_cdi.kubelet.inventory import Recalled

if TYPE_CHECKING:
    from collections.abc import Iterable

_FORMAT: Final = 1
_BOOT_ID: Final = pathlib.Path("/proc/sys/kernel/random/boot_id")

_UNREADABLE: Final = (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)
"""What a file raises that is none of ours, whatever is in it."""

_log = logging.getLogger("nri_cdi.kubelet")


def boot_id() -> str:
    """What tells this boot of the machine from others; empty if the kernel does not say."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


class Memory:
    """The file of one resource at `path`: `recalled` as it was found, then kept up to date by `keep`."""

    def __init__(self, path: pathlib.Path, kind: str, boot: str) -> None:
        self._path, self._kind, self._boot = path, kind, boot
        self._text = ""
        self._said = ""
        self._texts: dict[str, tuple[Candidate, tuple[bool, bool, tuple[DeviceNode, ...]], str]] = {}
        self.recalled: tuple[Recalled, ...] = ()
        self.same_boot = False
        try:
            self._text = path.read_text()
            self._take(json.loads(self._text))
        except FileNotFoundError:
            pass
        except _UNREADABLE as error:
            self._say(f"{path}: what was advertised before cannot be read, so it is not known: {error}")

    def ids(self) -> frozenset[str]:
        """The ids of devices that a process of ours registered: those recalled, and those in the file now, which another one may have written since."""
        recalled = frozenset(one.candidate.id for one in self.recalled)
        try:
            found = json.loads(self._path.read_text())
            return recalled.union(found["devices"]) if found["kind"] == self._kind else recalled
        except _UNREADABLE:
            return recalled

    def is_lost(self) -> bool:
        """Whether the file that was written is not there any more: somebody emptied the directory."""
        try:
            return bool(self._text) and not self._path.exists()
        except OSError:
            return False

    def keep(self, devices: Iterable[Recalled]) -> bool:
        """Write the devices, if that is not what the file says; whole or not at all. Whether the file says it then."""
        text = self._written(devices)
        if text == self._text and not self.is_lost():
            return True
        draft = self._path.with_name(f".{self._path.name}.new")
        try:
            with draft.open("w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())  # renamed before that, it may be empty when the machine crashes
            draft.replace(self._path)
        except OSError as error:
            with contextlib.suppress(OSError):
                draft.unlink()
            self._say(f"{self._path} cannot be written, so the devices are not known after a boot: {error}")
            return False
        self._text, self._said = text, ""
        return True

    def _written(self, devices: Iterable[Recalled]) -> str:
        """The file's text. `json.dumps` of ten thousand devices would hold the interpreter lock for all its time."""
        head = json.dumps({"boot": self._boot, "format": _FORMAT, "kind": self._kind})[1:-1]
        before, self._texts = self._texts, {}
        for device in devices:
            one = device.candidate
            known = before.get(one.id)
            # most are what they were
            state = (device.healthy, device.defined, device.had)
            if known is not None and known[0] is one and known[1] == state:
                self._texts[one.id] = known
            else:
                self._texts[one.id] = (one, state, _device_written(device))
        parts = [text for _, _, text in self._texts.values()]
        parts.sort()
        return f'{{"devices": {{{", ".join(parts)}}}, {head}}}'

    def _take(self, found: Any) -> None:  # noqa: ANN401  # whatever JSON has; what does not fit raises
        """Take what the file says, if it is of this kind and format."""
        if found["format"] != _FORMAT or found["kind"] != self._kind:
            return
        same_boot = bool(self._boot) and found["boot"] == self._boot
        for device in found["devices"]:
            device.encode()  # what cannot be told the kubelet is no id
        self.recalled = tuple(
            Recalled(
                Candidate(
                    f"{self._kind}={device}",
                    self._kind,
                    device,
                    str(said["file"]),
                    _nodes_read(said.get("nodes", ())),
                    interfaces=tuple(map(str, said.get("interfaces", ()))),
                ),
                said["healthy"] is True,
                not said.get("gone"),
                _nodes_read(said.get("had", ())),
            )
            for device, said in found["devices"].items()
        )
        self.same_boot = same_boot

    def _say(self, text: str) -> None:
        if text != self._said:
            self._said = text
            _log.warning("%s", text)


def _device_written(device: Recalled) -> str:
    """What the file says of a device, in JSON."""
    one = device.candidate
    text = f'{encode_basestring_ascii(one.id)}: {{"file": {encode_basestring_ascii(one.file)}'
    text += f', "healthy": {"true" if device.healthy else "false"}'
    if not device.defined:
        text += ', "gone": true'
    if one.nodes:
        text += f', "nodes": [{", ".join(map(_node_written, one.nodes))}]'
    if device.had:
        text += f', "had": [{", ".join(map(_node_written, device.had))}]'
    if one.interfaces:
        text += f', "interfaces": [{", ".join(map(encode_basestring_ascii, one.interfaces))}]'
    return text + "}"


def _nodes_read(said: Any) -> tuple[DeviceNode, ...]:  # noqa: ANN401  # as in `_take`
    """The device nodes of which `_node_written` is one."""
    return tuple(DeviceNode(str(path), "", str(kind), int(major), int(minor)) for path, kind, major, minor in said)


def _node_written(node: DeviceNode) -> str:
    """What a device node is recognised by, in JSON."""
    return f"[{encode_basestring_ascii(host_path(node))}, {encode_basestring_ascii(node.type)}, {node.major}, {node.minor}]"
