"""A kind cluster with mock devices, from hack/kind-config.yaml.

    with KindCluster("nri-cdi") as cluster:
        cluster.load("nri-cdi:dev")
        cluster.apply(asking("one", mock.KIND, 4))
        cluster.wait_running("one")
        cluster.exec("one", "ls", "/dev/mock"), cluster.events("one"), cluster.in_node("systemctl status containerd")

docker must be there, with an engine that answers. kind is the one on PATH, or built by hack/get-tool. $KIND_NODE_IMAGE names the node image; kind's
own by default. kubectl is the node's, so there is none to be had and none to differ.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import Final, Self

from lab import mock
from lab.image import archive
from lab.trouble import LabError

from deployed.command import CHECKOUT, need_image, run, tool
from deployed.reached import Reached

CONFIG: Final = "hack/kind-config.yaml"
MOCK: Final = "build/mock"
"""Where the configuration says that the devices are, below the checkout."""

_POLICIES: Final = """\
featureGates:
  MutatingAdmissionPolicy: true
runtimeConfig:
  admissionregistration.k8s.io/v1beta1: "true"
"""
_KUBECTL: Final = ("kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf")


class KindCluster(Reached):
    """One node, called `name`; made by `start` or `with`, removed by `stop` unless `keep`. Raises LabError when a part is missing."""

    def __init__(self, name: str, *, keep: bool = False, policies: bool = False) -> None:
        """`keep`: `stop` leaves it. `policies`: the API server has MutatingAdmissionPolicy, which is off by default."""
        self.name, self.keep, self._policies = name, keep, policies
        self.node = f"{name}-control-plane"
        self.kubeconfig = str(CHECKOUT / "build" / f"{name}.kubeconfig")
        if shutil.which("docker") is None:
            raise LabError("kind needs docker, and there is none on PATH")
        self.engine = run("docker", "version", "--format", "{{.Server.Version}}", timeout=20).strip()
        self._kind = tool("kind")

    def __repr__(self) -> str:
        return f"<KindCluster {self.name}>"

    def start(self) -> Self:
        """Make the devices and the cluster, from nothing; returns when it takes pods."""
        mock.create(CHECKOUT / MOCK)
        self.delete_cluster()
        (CHECKOUT / "build").mkdir(exist_ok=True)
        image = os.environ.get("KIND_NODE_IMAGE")
        more = ["--image", image] if image else []
        config = (CHECKOUT / CONFIG).read_text() + (_POLICIES if self._policies else "")
        where = ["--config", "-", "--name", self.name, "--kubeconfig", self.kubeconfig]
        run(self._kind, "create", "cluster", *where, "--wait", "120s", *more, stdin=config)
        self.wait_default_account()
        run(self._kind, "load", "image-archive", str(archive()), "--name", self.name)
        return self

    def stop(self) -> None:
        """Remove the cluster."""
        if not self.keep:
            self.delete_cluster()

    def delete_cluster(self) -> None:
        """Remove the cluster, if there is one."""
        run(self._kind, "delete", "cluster", "--name", self.name, "--kubeconfig", self.kubeconfig)

    def load(self, image: str) -> None:
        """See `Reached.load`."""
        need_image(image)
        run(self._kind, "load", "docker-image", image, "--name", self.name)

    def in_node(self, script: str, *, ok: bool = True) -> str:
        """See `Reached.in_node`."""
        return run("docker", "exec", self.node, "bash", "-euc", script, ok=ok)

    def kubectl(self, *arguments: str, stdin: str | None = None, ok: bool = True) -> str:
        """See `Reached.kubectl`; it runs in the node."""
        return run("docker", "exec", "-i", self.node, *_KUBECTL, *arguments, stdin=stdin, ok=ok)


def complain(error: Exception) -> int:
    """Say on stderr what failed, and how to get what may be missing. Returns the exit status for it."""
    print(f"kind: {error}", file=sys.stderr)
    if os.environ.get("KIND_NODE_IMAGE") is None:
        print(
            "kind: the node image is kind's own; KIND_NODE_IMAGE names another, for a machine that cannot pull it",
            file=sys.stderr,
        )
    return 3
