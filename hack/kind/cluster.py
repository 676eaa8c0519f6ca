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

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from lab import kube_pods, mock
from lab.image import archive
from lab.started import Started
from lab.trouble import LabError, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

CHECKOUT: Final = Path(__file__).resolve().parent.parent.parent
CONFIG: Final = "hack/kind-config.yaml"
MOCK: Final = "build/mock"
"""Where the configuration says that the devices are, below the checkout."""

_POLL: Final = 0.2
_POLICIES: Final = """\
featureGates:
  MutatingAdmissionPolicy: true
runtimeConfig:
  admissionregistration.k8s.io/v1beta1: "true"
"""
_KUBECTL: Final = ("kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf")
_NOT_YET: Final = "unable to upgrade connection"
"""What `kubectl exec` says while containerd is just coming back: the command has not been started."""


def run(*command: str | Path, stdin: str | None = None, timeout: float = 300, ok: bool = True) -> str:
    """What a command prints. Raises LabError, with what it said, when it fails; `ok=False`: returns what it printed and said instead."""
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=timeout, cwd=CHECKOUT, check=False
        )
    except FileNotFoundError as error:
        raise LabError(f"there is no {command[0]} on this machine") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{' '.join(map(str, command))}: not ended after {timeout:g} s") from error
    if not ok:
        return done.stdout + done.stderr
    if done.returncode:
        raise LabError(f"{' '.join(map(str, command))}: exit status {done.returncode}\n{done.stderr.strip()}")
    return done.stdout


def tool(name: str) -> str:
    """The path of `kind` or `helm`. Raises LabError when it cannot be had; the building says so on stderr."""
    got = subprocess.run([CHECKOUT / "hack/get-tool", name], stdout=subprocess.PIPE, text=True, check=False)
    if got.returncode:
        raise LabError(f"{name} cannot be had: see above")
    return got.stdout.strip()


class KindCluster(Started):
    """One node, called `name`; made by `start` or `with`, removed by `stop` unless `keep`. Raises LabError when a part is missing."""

    def __init__(self, name: str, *, keep: bool = False, policies: bool = False) -> None:
        """`keep`: `stop` leaves it. `policies`: the API server has MutatingAdmissionPolicy, which is off by default."""
        self.name, self.keep, self._policies = name, keep, policies
        self.node = f"{name}-control-plane"
        self.kubeconfig = CHECKOUT / "build" / f"{name}.kubeconfig"
        if shutil.which("docker") is None:
            raise LabError("kind needs docker, and there is none on PATH")
        self.engine = run("docker", "version", "--format", "{{.Server.Version}}", timeout=20).strip()
        self._kind = tool("kind")

    def __repr__(self) -> str:
        return f"<KindCluster {self.name}>"

    # life cycle

    def start(self) -> Self:
        """Make the devices and the cluster, from nothing; returns when it takes pods."""
        mock.create(CHECKOUT / MOCK)
        self.delete_cluster()
        self.kubeconfig.parent.mkdir(exist_ok=True)
        image = os.environ.get("KIND_NODE_IMAGE")
        more = ["--image", image] if image else []
        config = (CHECKOUT / CONFIG).read_text() + (_POLICIES if self._policies else "")
        where = ["--config", "-", "--name", self.name, "--kubeconfig", str(self.kubeconfig)]
        run(self._kind, "create", "cluster", *where, "--wait", "120s", *more, stdin=config)
        wait_until(
            lambda: "default" in self.kubectl("get", "serviceaccounts", "-o", "name"), 60, "what a pod needs", _POLL
        )
        self._load_archive(archive())
        return self

    def stop(self) -> None:
        """Remove the cluster."""
        if not self.keep:
            self.delete_cluster()

    def delete_cluster(self) -> None:
        """Remove the cluster, if there is one."""
        run(self._kind, "delete", "cluster", "--name", self.name, "--kubeconfig", str(self.kubeconfig))

    def load(self, image: str) -> None:
        """Bring an image of the local engine into the node. Raises LabError when the engine has none of that name."""
        if run("docker", "image", "inspect", "-f", "{{.Id}}", image, ok=False).strip().startswith("sha256:"):
            run(self._kind, "load", "docker-image", image, "--name", self.name)
        else:
            raise LabError(f"there is no image {image} to load: `make image` builds it, $IMAGE names another")

    def _load_archive(self, path: Path) -> None:
        run(self._kind, "load", "image-archive", str(path), "--name", self.name)

    # the node

    def in_node(self, script: str, *, stdin: str | None = None, ok: bool = True) -> str:
        """What a shell script prints in the node. Raises LabError when it fails, unless not `ok`."""
        return run("docker", "exec", "-i", self.node, "bash", "-euc", script, stdin=stdin, ok=ok)

    def runtime(self) -> str:
        """The version of the node's containerd: `1.7.24`."""
        said: str = self._json("get", "node", self.node)["status"]["nodeInfo"]["containerRuntimeVersion"]
        return said.removeprefix("containerd://")

    # the API

    def kubectl(self, *arguments: str, stdin: str | None = None, ok: bool = True) -> str:
        """What kubectl prints. Raises LabError when it fails, unless not `ok`."""
        return run("docker", "exec", "-i", self.node, *_KUBECTL, *arguments, stdin=stdin, ok=ok)

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Make objects, or change them."""
        self.kubectl("apply", "-f", "-", stdin="\n---\n".join(map(json.dumps, objects)))

    def pod(self, name: str) -> kube_pods.PodStatus:
        """What the API says of a pod in the namespace default."""
        return kube_pods.pod_status(self._json("get", "pod", name))

    def wait_running(self, name: str, timeout: float = 60) -> kube_pods.PodStatus:
        """The status of a pod once it runs. Raises LabError, with its status and its events, if it does not."""
        try:
            wait_until(lambda: self.pod(name).running, timeout, f"pod {name} to run", _POLL)
        except LabError as error:
            said = "\n".join(f"  {event.reason}: {event.message}" for event in self.events(name))
            raise LabError(f"{error}\n{self.pod(name)}\n{said}") from error
        return self.pod(name)

    def events(self, name: str) -> list[kube_pods.Event]:
        """The events of a pod, the oldest first."""
        return kube_pods.events(self._json("get", "events", f"--field-selector=involvedObject.name={name}")["items"])

    def exec(self, name: str, *command: str) -> str:
        """What a command prints in the pod's first container; tried again while the node's containerd comes back."""
        said = ""
        for _ in range(20):
            said = self.kubectl("exec", name, "--", *command, ok=False)
            if _NOT_YET not in said:
                break
            time.sleep(_POLL)
        return said

    def delete(self, *names: str) -> None:
        """Delete pods and wait for their end."""
        self.kubectl("delete", "pod", "--ignore-not-found", *names)

    def allocatable(self, resource: str) -> int:
        """How many of a resource the node offers to pods."""
        return int(self._json("get", "node", self.node)["status"]["allocatable"].get(resource, 0))

    def wait_allocatable(self, resource: str, count: int, timeout: float = 60) -> None:
        """Return when the node offers `count` of a resource: the kubelet says so every ten seconds."""
        wait_until(lambda: self.allocatable(resource) == count, timeout, f"{count} {resource} allocatable", _POLL)

    def _json(self, *arguments: str) -> Any:  # noqa: ANN401  # JSON
        return json.loads(self.kubectl(*arguments, "-o", "json"))


def complain(error: Exception) -> int:
    """Say on stderr what failed, and how to get what may be missing. Returns the exit status for it."""
    print(f"kind: {error}", file=sys.stderr)
    if os.environ.get("KIND_NODE_IMAGE") is None:
        print(
            "kind: the node image is kind's own; KIND_NODE_IMAGE names another, for a machine that cannot pull it",
            file=sys.stderr,
        )
    return 3
