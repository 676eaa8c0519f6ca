"""One real containerd in a sandbox of its own, with the paths of an ordinary node.

    with Node("2.1") as node:
        agent = Agent(node.sandbox, "nri")                   # or anything else that connects to node.nri_socket
        node.wait_plugins("10-nri-cdi")
        container = node.pod().container(annotations={"cdi.k8s.io/x": "vendor.com/dev=a"}).start()
        container.spec(), container.exec("ls", "/dev")
        node.restart()                                       # containers live on

Inside the sandbox everything is where the defaults have it: /run/containerd/containerd.sock, /run/nri/nri.sock,
/etc/cdi. From outside the same files are at `node.path(...)`.
"""

from __future__ import annotations

import itertools
import os
import signal
from pathlib import Path
from typing import Any, Final, Self

from lab import config, image, runtimes
from lab.cri import Cri, CriError
from lab.pods import Pod
from lab.sandbox import Program, Sandbox
from lab.started import Started
from lab.trouble import LabError, wait_until

_LOG = "/var/log/containerd.log"
CONFIG: Final = "/etc/containerd/config.toml"
_NOT_INHERITED = ("CONTAINERD_", "GRPC_", "OTEL_")
_TAIL = 3000


class Node(Started):
    """containerd of one `series` ("1.7"), started by `start` or `with`. Options are those of `lab.config.Options`.

    `runc` is a series of runc ("1.5"), or None for the machine's. Raises LabError when a part is missing or does not come up.
    """

    def __init__(self, series: str, *, runc: str | None = None, sandbox: Sandbox | None = None, **options: Any) -> None:  # noqa: ANN401 - checked by Options
        self.series = series
        self.bin = runtimes.containerd(series)
        self.runc = str(runtimes.runc(runc))
        self._config = config.table(series, self.runc, image.PAUSE, config.Options(**options))
        self._archive = image.archive()
        self.sandbox = Sandbox() if sandbox is None else sandbox
        self._owns_sandbox = sandbox is None
        self.nri_socket = self.path(config.NRI_SOCKET)
        self.daemon: Program | None = None
        self.cri = Cri(str(self.path(config.ADDRESS)))
        self._serial = itertools.count(1)

    def __repr__(self) -> str:
        return f"<Node {self.series}, {self.daemon or 'not running'}, in {self.sandbox}>"

    def path(self, inside: str | Path) -> Path:
        """The path outside the sandbox of an absolute path inside (see `Sandbox.path`)."""
        return self.sandbox.path(inside)

    @property
    def config_text(self) -> str:
        """The configuration file of this containerd, as it was written."""
        return config.toml(self._config)

    # life cycle

    def start(self) -> Self:
        """Start containerd and give it the images; returns when pods can be run."""
        for directory in (config.PLUGIN_DIR, config.PLUGIN_CONF_DIR, config.NO_CDI, str(Path(CONFIG).parent)):
            self.path(directory).mkdir(parents=True, exist_ok=True)
        self.path(CONFIG).write_text(self.config_text)
        self.start_daemon()
        if not self.cri.has_image(image.PAUSE):
            self.sandbox.run(*self._ctr, "images", "import", "--local", "--all-platforms", str(self._archive))
            wanted = (image.PAUSE, image.BUSYBOX)
            wait_until(lambda: all(map(self.cri.has_image, wanted)), 10, f"the images in containerd {self.series}")
        return self

    def start_daemon(self) -> None:
        """Start the containerd process only, and wait until its CRI is ready."""
        daemon = self.spawn_daemon()

        def ready() -> bool:
            if daemon.poll() is not None:
                raise LabError(f"containerd {self.series} ended with {daemon.poll()}:\n{self.log()[-_TAIL:]}")
            return self.ready()

        wait_until(ready, 30, f"the CRI of containerd {self.series}")

    def ready(self) -> bool:
        """Whether its CRI says that it is ready, as the kubelet asks it."""
        try:
            conditions = self.cri.status(timeout=2).status.conditions
        except CriError:
            return False
        return any(condition.type == "RuntimeReady" and condition.status for condition in conditions)

    def spawn_daemon(self) -> Program:
        """Start the containerd process and do not wait for anything."""
        env = {key: value for key, value in os.environ.items() if not key.startswith(_NOT_INHERITED)}
        env["PATH"] = f"{self.bin}:{env.get('PATH', os.defpath)}:/usr/sbin:/sbin"
        daemon = self.sandbox.popen([str(self.bin / "containerd"), "--config", CONFIG], _LOG, env)
        self.daemon = daemon
        return daemon

    def stop_daemon(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End the containerd process; containers go on running under their shims."""
        if self.daemon is not None:
            self.daemon.signal(number)
            self.daemon.wait(20)
            self.daemon = None

    def kill_daemon(self) -> None:
        """The same with SIGKILL."""
        self.stop_daemon(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start the containerd process; containers go on running meanwhile."""
        self.stop_daemon()
        self.start_daemon()

    def stop(self) -> None:
        """End the node and, unless it was given, its sandbox with everything in it. May be called again."""
        self.cri.close()
        if self._owns_sandbox:
            self.sandbox.stop()
        else:
            self.stop_daemon()

    # pods

    def pod(self, name: str | None = None, **options: Any) -> Pod:  # noqa: ANN401 - checked by Pod
        """Run a pod sandbox; the options are those of `Pod`."""
        return Pod(self, name or f"pod{next(self._serial)}", **options)

    def remove_pods(self) -> None:
        """Remove all pods: what one test leaves is not there for the next."""
        for pod in self.cri.pod_sandboxes():
            self.cri.stop_pod_sandbox(pod.id)
            self.cri.remove_pod_sandbox(pod.id)

    # looking at it

    @property
    def _ctr(self) -> tuple[str, ...]:
        return (str(self.bin / "ctr"), "--address", config.ADDRESS, "--namespace", "k8s.io")

    def log(self, since: int = 0) -> str:
        """Containerd's log from byte `since` on (see `log_size`)."""
        with self.path(_LOG).open("rb") as file:
            file.seek(since)
            return file.read().decode(errors="replace")

    def log_size(self) -> int:
        """The size of containerd's log in bytes: what `since` takes."""
        return self.path(_LOG).stat().st_size

    def wait_log(self, text: str, since: int = 0, timeout: float = 10) -> str:
        """Wait until containerd's log, from byte `since` on, has `text`; returns that part of the log."""
        wait_until(lambda: text in self.log(since), timeout, f"{text!r} in the log of containerd {self.series}")
        return self.log(since)

    def wait_plugins(self, *names: str, since: int = 0, timeout: float = 10) -> None:
        """Wait until the NRI plugins ("10-nri-cdi") stand in the runtime's latest order of invocation since byte `since`."""

        def there() -> bool:
            order = self.log(since).rpartition("plugin invocation order")[2]
            return bool(order) and all(name in order for name in names)

        wait_until(there, timeout, f"the NRI plugins {', '.join(names)} in containerd {self.series}")
