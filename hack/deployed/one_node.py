"""The one-node Kubernetes of the lab (`lab.cluster`), as the tests of an installation see it: there the agent is a DaemonSet and not our own process."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final, Self

from lab import config, mock
from lab.cluster import Cluster
from lab.control_plane import HOME, NODE
from lab.kubernetes import parts
from lab.trouble import wait_until

from deployed.command import CHECKOUT, need_image, run
from deployed.reached import Reached

_ADMIN: Final = f"{HOME}/admin.kubeconfig"


class OneNode(Reached):
    """One node with containerd of a `series` ("2.1"). Raises LabError when a part is missing."""

    node = NODE
    kubeconfig = _ADMIN

    def __init__(self, series: str) -> None:
        self._kubectl = parts().programs["kubectl"]
        self._cluster = Cluster(series)
        self.enter = tuple(self._cluster.sandbox.enter)

    def __repr__(self) -> str:
        return f"<OneNode {self._cluster}>"

    def start(self) -> Self:
        """Start the cluster, and make the devices."""
        self._cluster.start()
        mock.create(self._cluster.path("/"))
        return self

    def stop(self) -> None:
        """End it; nothing is left."""
        self._cluster.stop()

    def load(self, image: str) -> None:
        """See `Reached.load`."""
        need_image(image)
        with tempfile.TemporaryDirectory(dir=CHECKOUT / "build") as directory:
            archive = Path(directory, "image.tar")
            run("docker", "save", "--output", archive, image)
            self.in_node(f"ctr --address {config.ADDRESS} -n k8s.io images import {archive}")
        wait_until(lambda: self._cluster.node.cri.has_image(image), 10, f"the image {image} in {self}")

    def kubectl(self, *arguments: str, stdin: str | None = None, ok: bool = True) -> str:
        """See `Reached.kubectl`."""
        words = ("env", f"HOME={HOME}", self._kubectl, f"--kubeconfig={_ADMIN}")
        return run(*self.enter, *words, *arguments, stdin=stdin, ok=ok)

    def in_node(self, script: str, *, ok: bool = True) -> str:
        """See `Reached.in_node`; the programs of this containerd are found first."""
        path = f"PATH={self._cluster.node.bin}:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
        return run(*self.enter, "env", path, "bash", "-euc", script, ok=ok)

    def restart_runtime(self) -> None:
        """See `Reached.restart_runtime`: there is no systemd here."""
        self._cluster.node.restart()

    def restart_kubelet(self) -> None:
        """See `Reached.restart_kubelet`."""
        self._cluster.kubelet.restart()
