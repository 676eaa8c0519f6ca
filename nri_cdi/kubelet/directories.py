"""Where a kubelet has its sockets and its books.

`device-plugins` is a constant in the kubelet's source (pluginapi.DevicePluginPath); `plugins_registry` and `pod-resources` are below its `--root-dir`.
"""

from __future__ import annotations

import pathlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    import os

DEVICE_PLUGINS: Final = pathlib.Path("/var/lib/kubelet/device-plugins")
"""The constant."""


@dataclass(frozen=True, slots=True)
class Directories:
    """The three directories of one kubelet."""

    device_plugins: pathlib.Path
    """With kubelet.sock, the checkpoint, and what we remember."""
    plugins_registry: pathlib.Path
    pod_resources: pathlib.Path

    @classmethod
    def below(cls, directory: str | os.PathLike[str]) -> Self:
        """All three in one directory, as on an ordinary node."""
        place = pathlib.Path(directory)
        return cls(place / "device-plugins", place / "plugins_registry", place / "pod-resources")

    @classmethod
    def of(cls, directory: str | os.PathLike[str]) -> Self:
        """Those of the kubelet with this `--root-dir`: `device-plugins` is there if it is there now, else it is the constant.

        It is there on an ordinary node, in a pod that sees it there, and where a stand-in for a kubelet has made it.
        """
        whole = cls.below(directory)
        try:
            return whole if whole.device_plugins.is_dir() else replace(whole, device_plugins=DEVICE_PLUGINS)
        except OSError:  # not for our eyes: whoever reads there says so
            return whole
