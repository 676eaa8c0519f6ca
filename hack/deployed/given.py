"""The cluster that $KUBECONFIG names, which we neither make nor end.

It has to have one node, with systemd, and on it: NRI on in its containerd (docs/install.md), the mock devices (`hack/mock-devices /`), and the
test image (`ctr -n k8s.io images import` of what lies in the cache's `images`). The agent's image is pulled, if it is not there: $IMAGE names it.
kubectl is the one on PATH. The namespace default must be empty: the tests delete all pods in it.
"""

from __future__ import annotations

import json
import os
from typing import Final, Self

from lab.image import BUSYBOX, archive
from lab.kube_pods import container, pod
from lab.sandbox import which
from lab.trouble import LabError, wait_until

from deployed.command import run
from deployed.reached import POLL, Reached

_OURS: Final = "nri-cdi-tests"
"""The namespace of the pod by which scripts run in the node."""

_PATH: Final = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NODE: Final = ("nsenter", "-t", "1", "-m", "-u", "-i", "-n", "-p", "--", "env", _PATH, "bash", "-euc")


class Given(Reached):
    """See the module. Raises LabError that says what the cluster lacks."""

    pull = "IfNotPresent"

    def __init__(self) -> None:
        if not os.environ.get("KUBECONFIG"):
            raise LabError("KUBECONFIG names no cluster")
        self.kubeconfig = os.environ["KUBECONFIG"]
        self._kubectl = which("kubectl")

    def __repr__(self) -> str:
        return f"<Given {self.kubeconfig}>"

    def start(self) -> Self:
        """See that the cluster is fit for the tests."""
        nodes = self.kubectl("get", "nodes", "-o", "name").split()
        if len(nodes) != 1:
            raise LabError(
                f"the cluster of {self.kubeconfig} has {len(nodes)} nodes; the tests take one of a single node"
            )
        self.node = nodes[0].removeprefix("node/")
        if found := self.kubectl("get", "pods", "--namespace", "default", "-o", "name").split():
            raise LabError(f"the tests would delete these pods in the namespace default: {' '.join(found)}")
        self._way_into_the_node()
        if "mock" not in self.in_node("ls /etc/cdi /dev"):
            raise LabError(f"{self.node} has no mock devices: hack/mock-devices / makes them there")
        return self

    def stop(self) -> None:
        """Take away what `start` has made."""
        self.kubectl("delete", "namespace", _OURS, "--ignore-not-found", ok=False)

    def load(self, image: str) -> None:
        """Nothing: the node pulls it."""

    def kubectl(self, *arguments: str, stdin: str | None = None, ok: bool = True) -> str:
        """See `Reached.kubectl`."""
        return run(self._kubectl, "--kubeconfig", self.kubeconfig, *arguments, stdin=stdin, ok=ok)

    def in_node(self, script: str, *, ok: bool = True) -> str:
        """See `Reached.in_node`; tried again while the node's kubelet or containerd come back."""
        command = ("exec", "--namespace", _OURS, "node", "--", *_NODE)

        def reachable() -> bool:
            return self.kubectl(*command, "echo there", ok=False).strip() == "there"

        wait_until(reachable, 60, f"a way into {self.node}", POLL)
        return self.kubectl(*command, script, ok=ok)

    def restart_runtime(self) -> None:
        """See `Reached.restart_runtime`."""
        self._restart("containerd")

    def restart_kubelet(self) -> None:
        """See `Reached.restart_kubelet`."""
        self._restart("kubelet")

    def _restart(self, unit: str) -> None:
        """Restart a unit that carries what we say in the node, so that its answer may be lost; return when it has started anew."""
        started = f"systemctl show --property ActiveEnterTimestampMonotonic --value {unit}; systemctl is-active {unit} || true"
        before = self.in_node(started)
        self.in_node(f"systemctl --no-block restart {unit}", ok=False)

        def anew() -> bool:
            now = self.in_node(started, ok=False)
            return now != before and now.split()[-1:] == ["active"]

        wait_until(anew, 60, f"{unit} to be started anew in {self.node}", POLL)

    def _way_into_the_node(self) -> None:
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _OURS}}
        way = pod("node", {**container(), "securityContext": {"privileged": True}}, hostPID=True)
        way["metadata"]["namespace"] = _OURS
        self.apply(namespace)
        account = ("get", "serviceaccount", "default", "--namespace", _OURS, "--ignore-not-found", "-o", "name")
        wait_until(lambda: self.kubectl(*account), 60, "what a pod needs", POLL)
        self.apply(way)

        def phase() -> str:
            found: str = json.loads(self.kubectl("get", "pod", "node", "--namespace", _OURS, "-o", "json"))["status"][
                "phase"
            ]
            return found

        try:
            wait_until(lambda: phase() == "Running", 60, "a privileged pod in the node", POLL)
        except LabError as error:
            said = self.kubectl("get", "events", "--namespace", _OURS, ok=False)
            raise LabError(
                f"{error}\n{said}\nthe image {BUSYBOX} has to be there: ctr -n k8s.io images import {archive()}"
            ) from error
