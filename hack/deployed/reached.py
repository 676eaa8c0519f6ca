"""A cluster of one node, whatever made it: what nri-cdi's tests and the demo ask of it."""

from __future__ import annotations

import abc
import json
import time
from typing import TYPE_CHECKING, Any, Final

from lab import kube_pods
from lab.started import Started
from lab.trouble import LabError, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

POLL: Final = 0.2
_NOT_YET: Final = "unable to upgrade connection"
"""What `kubectl exec` says while containerd is just coming back: the command has not been started."""


class Reached(Started):
    """A cluster whose one node is called `node` and has mock devices, with their CDI spec, and the lab's busybox.

    `pull` is the image pull policy of the agent's pods: Never where `load` brings the image into the node.
    """

    node: str
    kubeconfig: str
    """For `helm`, run behind the words of `enter`."""
    pull: str = "Never"
    enter: tuple[str, ...] = ()
    """The words before a command of this machine that let it reach the API server."""

    # each kind of cluster has its own way

    @abc.abstractmethod
    def kubectl(self, *arguments: str, stdin: str | None = None, ok: bool = True) -> str:
        """What kubectl prints. Raises LabError when it fails; not `ok`: returns what it printed and said instead."""

    @abc.abstractmethod
    def in_node(self, script: str, *, ok: bool = True) -> str:
        """What a shell script prints in the node. Raises LabError when it fails; not `ok`: returns what it printed and said instead."""

    @abc.abstractmethod
    def load(self, image: str) -> None:
        """Bring an image of the local engine into the node. Raises LabError when the engine has none of that name."""

    def restart_runtime(self) -> None:
        """Restart the node's containerd."""
        self.in_node("systemctl restart containerd")

    def restart_kubelet(self) -> None:
        """Restart the node's kubelet."""
        self.in_node("systemctl restart kubelet")

    def kill_container(self, identity: str) -> None:
        """Kill the first process of a container, by the runtime's id of it."""
        self.in_node(f"ctr -n k8s.io tasks kill -s KILL {identity}")

    # the API

    def runtime(self) -> str:
        """The version of the node's containerd: `1.7.24`."""
        said: str = self._json("get", "node", self.node)["status"]["nodeInfo"]["containerRuntimeVersion"]
        return said.removeprefix("containerd://")

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Make objects, or change them."""
        self.kubectl("apply", "-f", "-", stdin="\n---\n".join(map(json.dumps, objects)))

    def pod(self, name: str) -> kube_pods.PodStatus:
        """What the API says of a pod in the namespace default."""
        return kube_pods.pod_status(self._json("get", "pod", name))

    def wait_running(self, name: str, timeout: float = 60) -> kube_pods.PodStatus:
        """The status of a pod once it runs. Raises LabError, with its status and its events, if it does not."""
        try:
            wait_until(lambda: self.pod(name).running, timeout, f"pod {name} to run", POLL)
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
            time.sleep(POLL)
        return said

    def delete(self, *names: str) -> None:
        """Delete pods and wait for their end."""
        self.kubectl("delete", "pod", "--ignore-not-found", *names)

    def delete_all(self) -> None:
        """Delete all pods of the namespace default and wait for their end."""
        self.kubectl("delete", "pods", "--all", "--force", "--grace-period=0", "--namespace", "default")

    def allocatable(self, resource: str) -> int:
        """How many of a resource the node offers to pods."""
        return int(self._json("get", "node", self.node)["status"]["allocatable"].get(resource, 0))

    def wait_allocatable(self, resource: str, count: int, timeout: float = 60) -> None:
        """Return when the node offers `count` of a resource: the kubelet says so every ten seconds."""
        wait_until(lambda: self.allocatable(resource) == count, timeout, f"{count} {resource} allocatable", POLL)

    def wait_default_account(self) -> None:
        """Return when pods can be made in the namespace default: a new cluster has no service account there yet."""
        there = "serviceaccount/default"
        wait_until(lambda: there in self.kubectl("get", "serviceaccounts", "-o", "name"), 60, "what a pod needs", POLL)

    def _json(self, *arguments: str) -> Any:  # noqa: ANN401  # JSON
        return json.loads(self.kubectl(*arguments, "-o", "json"))
