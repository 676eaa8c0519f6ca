"""nri-cdi in a cluster, installed from the chart."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final

from lab import mock
from lab.trouble import LabError, wait_until

from deployed.command import CHECKOUT, run, tool

if TYPE_CHECKING:
    from deployed.reached import Reached

CHART: Final = CHECKOUT / "deploy/helm/nri-cdi"
IMAGE: Final = os.environ.get("IMAGE", "nri-cdi:dev")
LABELS: Final = "app.kubernetes.io/name=nri-cdi"


class Release:
    """A release of the chart in a namespace of its own, of the same name."""

    def __init__(self, cluster: Reached, name: str = "nri-cdi") -> None:
        self.cluster, self.name = cluster, name
        self._helm = tool("helm")
        self._where = ("--namespace", name, "--kubeconfig", cluster.kubeconfig)

    def __repr__(self) -> str:
        return f"<Release {self.name} in {self.cluster}>"

    def install(self, *more: str, advertise: str = mock.KIND, ready: bool = True) -> None:
        """Install, or upgrade, with more arguments for helm; returns when all pods are ready, unless not `ready`."""
        repository, _, tag = IMAGE.rpartition(":")
        values = [
            f"--set=image.repository={repository},image.tag={tag},image.pullPolicy={self.cluster.pull}",
            f"--set-json=advertise={json.dumps([advertise] if advertise else [])}",
        ]
        wait = ["--wait", "--timeout=120s"] if ready else []
        self.helm("upgrade", "--install", "--create-namespace", self.name, str(CHART), *values, *wait, *more)

    def helm(self, *arguments: str) -> str:
        """What helm prints. Raises LabError when it fails, with the pods' state."""
        try:
            return run(*self.cluster.enter, self._helm, *arguments, *self._where)
        except LabError as error:
            state = self.kubectl("get", "pods", "-o", "wide", ok=False)
            logs = self.kubectl("logs", "--all-containers", "--prefix", f"--selector={LABELS}", "--tail=20", ok=False)
            raise LabError(f"{error}\n{state}\n{logs}") from error

    def uninstall(self) -> None:
        """Uninstall; returns when the agent's pods are gone."""
        self.helm("uninstall", self.name, "--wait")
        wait_until(lambda: not self.pods(), 60, "the end of the agent's pods", 0.2)

    def kubectl(self, *arguments: str, ok: bool = True) -> str:
        """What kubectl prints, in the release's namespace."""
        return self.cluster.kubectl("--namespace", self.name, *arguments, ok=ok)

    def pods(self) -> list[Any]:
        """The agent's pods, as the API has them."""
        items: list[Any] = json.loads(self.kubectl("get", "pods", f"--selector={LABELS}", "-o", "json"))["items"]
        return items

    def rendered(self, *arguments: str) -> str:
        """The chart, rendered for this cluster's version."""
        return run(self._helm, "template", self.name, CHART, "--namespace", self.name, *arguments)
