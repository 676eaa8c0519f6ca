"""The kubelet's watch over plugins_registry, for `FakeKubelet`: it asks each socket that appears there who it is, as the kubelet does."""

from __future__ import annotations

import contextlib
import os
import pathlib
import select
import stat
import threading
from typing import TYPE_CHECKING, Final

import grpc

from nri_cdi.host.inotify import Watch
from nri_cdi.kubelet import registry_api as api
from nri_cdi.testing.plugin_client import address

if TYPE_CHECKING:
    from collections.abc import Callable

TYPE: Final = "DevicePlugin"
VERSION: Final = "v1beta1"
TIMEOUT: Final = 10.0
_SERVICE: Final = "/pluginregistration.Registration/"


class _Directory(Watch):
    """Everything that happens in a directory."""

    def _relevant(self, watch: int, mask: int, name: bytes) -> bool:  # noqa: ARG002  # all of it
        return True


class PluginWatcher:
    """Watches `directory` in a thread of its own until `stop`.

    `add` gets the resource and the endpoint of each plugin found, and says why it is refused, or None; `remove` gets the resource of one
    whose socket is gone. A socket that is replaced is removed and added.
    """

    def __init__(
        self, directory: pathlib.Path, add: Callable[[str, pathlib.Path], str | None], remove: Callable[[str], None]
    ) -> None:
        self._directory, self._add, self._remove = directory, add, remove
        self._known: dict[pathlib.Path, tuple[int, int, int]] = {}
        self._resources: dict[pathlib.Path, str] = {}
        self._stop, self._stopped = os.pipe()
        self._watch = _Directory((str(directory),))
        self._thread = threading.Thread(target=self._run, name="fake kubelet plugin watcher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; the plugins stay as they are."""
        os.close(self._stopped)
        self._thread.join()
        os.close(self._stop)
        self._watch.close()

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._watch.fd, select.POLLIN)
        poll.register(self._stop, select.POLLIN | select.POLLHUP)
        while True:
            self._look()
            if self._stop in {fd for fd, _ in poll.poll()}:
                return
            self._watch.take()
            self._watch.renew()

    def _look(self) -> None:
        present = {}
        for path in self._directory.iterdir():
            with contextlib.suppress(FileNotFoundError):
                found = path.lstat()
                if stat.S_ISSOCK(found.st_mode) and not path.name.startswith("."):
                    present[path] = (found.st_dev, found.st_ino, found.st_ctime_ns)
        for path in [path for path, file in self._known.items() if present.get(path) != file]:
            del self._known[path]
            if path in self._resources:
                self._remove(self._resources.pop(path))
        for path, file in present.items():
            if path not in self._known:
                self._known[path] = file
                with contextlib.suppress(grpc.RpcError):  # nobody there: the kubelet would try again
                    self._ask(path)

    def _ask(self, path: pathlib.Path) -> None:
        with grpc.insecure_channel(address(path), [("grpc.use_local_subchannel_pool", 1)]) as channel:
            info: api.PluginInfo = channel.unary_unary(
                _SERVICE + "GetInfo", api.InfoRequest.SerializeToString, api.PluginInfo.FromString
            )(api.InfoRequest(), timeout=TIMEOUT)
            problem = None
            if info.type != TYPE or VERSION not in info.supported_versions:
                problem = f"no handler registered for plugin type: {info.type} {list(info.supported_versions)}"
            problem = problem or self._add(info.name, pathlib.Path(info.endpoint or path))
            if problem is None:
                self._resources[path] = info.name
            channel.unary_unary(
                _SERVICE + "NotifyRegistrationStatus",
                api.RegistrationStatus.SerializeToString,
                api.RegistrationStatusResponse.FromString,
            )(api.RegistrationStatus(plugin_registered=problem is None, error=problem or ""), timeout=TIMEOUT)
