"""What a process of ours leaves to the next about the devices that it advertised: a small file for each resource.

The file lies beside the resource's socket, in the kubelet's device-plugins directory: the kubelet removes sockets there and keeps files, and unlike
/run the place outlives a boot, when it matters most. A file that cannot be read or written costs what it is for (devices
are not held while they settle after a boot), and nothing else.
"""

from __future__ import annotations

import json
import logging
import pathlib
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any, Final

from nri_cdi.kubelet.candidates import Candidate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_FORMAT: Final = 1
_BOOT_ID: Final = pathlib.Path("/proc/sys/kernel/random/boot_id")

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
        self.recalled: Mapping[Candidate, bool] = {}
        self.same_boot = False
        try:
            self._text = path.read_text()
            self._take(json.loads(self._text))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            self._say(f"{path}: what was advertised before cannot be read, so it is not known: {error}")

    def keep(self, devices: Iterable[tuple[Candidate, bool]]) -> None:
        """Write the devices and whether each is healthy, if that is not what the file says; whole or not at all."""
        text = self._written(devices)
        if text == self._text:
            return
        draft = self._path.with_name(f".{self._path.name}.new")
        try:
            draft.write_text(text)
            draft.replace(self._path)
        except OSError as error:
            self._say(f"{self._path} cannot be written, so the devices are not known after a boot: {error}")
            return
        self._text, self._said = text, ""

    def _written(self, devices: Iterable[tuple[Candidate, bool]]) -> str:
        """The file's text. `json.dumps` of ten thousand devices would hold the interpreter lock for all its time."""
        head = json.dumps({"boot": self._boot, "format": _FORMAT, "kind": self._kind})[1:-1]
        said: dict[tuple[str, bool], str] = {}
        parts = []
        for one, healthy in devices:
            text = said.get((one.file, healthy))
            if text is None:
                text = said[one.file, healthy] = json.dumps({"file": one.file, "healthy": healthy})
            parts.append(f"{encode_basestring_ascii(one.id)}: {text}")
        parts.sort()
        return f'{{"devices": {{{", ".join(parts)}}}, {head}}}'

    def _take(self, found: Any) -> None:  # noqa: ANN401  # whatever JSON has; what does not fit raises
        """Take what the file says, if it is of this kind and format."""
        if found["format"] != _FORMAT or found["kind"] != self._kind:
            return
        self.recalled = {
            Candidate(f"{self._kind}={device}", self._kind, device, str(said["file"])): said["healthy"] is True
            for device, said in found["devices"].items()
        }
        self.same_boot = bool(self._boot) and found["boot"] == self._boot

    def _say(self, text: str) -> None:
        if text != self._said:
            self._said = text
            _log.warning("%s", text)
