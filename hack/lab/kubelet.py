"""A real kubelet in a sandbox, with its directories where every node has them."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any, Final

from lab.api_server import ApiError
from lab.config import ADDRESS
from lab.control_plane import HOME, KUBELET_CONFIG, NODE, NODE_IP, environment
from lab.trouble import LabError, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab.api_server import ApiServer, Object
    from lab.sandbox import Program, Sandbox

DIRECTORY: Final = "/var/lib/kubelet"
DEVICE_PLUGINS: Final = f"{DIRECTORY}/device-plugins"
"""A constant of the kubelet, whatever its --root-dir."""

SOCKET: Final = f"{DEVICE_PLUGINS}/kubelet.sock"
POD_RESOURCES: Final = f"{DIRECTORY}/pod-resources/kubelet.sock"
CHECKPOINT: Final = f"{DEVICE_PLUGINS}/kubelet_internal_checkpoint"
LOG: Final = "/var/log/kubelet.log"

IMPATIENT: Final = {
    "featureGates": {"KubeletCrashLoopBackOffMax": True},
    "crashLoopBackOff": {"maxContainerRestartPeriod": "1s"},
}
"""Options of a kubelet that starts a container which ends again and again after 1 s each time, not after 10 s, 20 s, up to 5 minutes."""

_CONFIG: Final = f"{HOME}/kubelet.yaml"
_NO_RUNTIME: Final = "validate service connection"
"""With these words a kubelet ends that does not find the container runtime at its start; on a node it is started again then."""
_TAINT: Final = "node.kubernetes.io/not-ready"


def configuration(cgroup: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The kubelet's configuration, with its pods' cgroups below `cgroup`, and `options` laid over it.

    What is not a node's default is there for a small, throwaway node on a machine that is not ours: nothing is evicted or collected, and
    the state of the node is reported each second.
    """
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{ADDRESS}",
        "address": NODE_IP,
        "healthzBindAddress": "127.0.0.1",
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup,
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "makeIPTablesUtilChains": False,
        "localStorageCapacityIsolation": False,
        "imageGCHighThresholdPercent": 100,
        "evictionHard": dict.fromkeys(
            ("memory.available", "nodefs.available", "imagefs.available", "nodefs.inodesFree", "imagefs.inodesFree"),
            "0%",
        ),
        "nodeStatusUpdateFrequency": "1s",
        "nodeStatusReportFrequency": "1m",
        "eventRecordQPS": 0,
        "kubeAPIQPS": 100,
        "kubeAPIBurst": 200,
        # nobody serves there; without it every pod has a warning
        "clusterDNS": ["10.96.0.10"],
        "clusterDomain": "cluster.local",
        "resolvConf": f"{HOME}/resolv.conf",
        "enableControllerAttachDetach": False,
        **options,
    }


class Kubelet:
    """The kubelet of `sandbox`; nothing runs before `start`. `options` are laid over its configuration."""

    def __init__(self, sandbox: Sandbox, program: str, api: ApiServer, options: Mapping[str, Any]) -> None:
        self._sandbox = sandbox
        self._argv = [
            program,
            f"--config={_CONFIG}",
            f"--kubeconfig={KUBELET_CONFIG}",
            f"--hostname-override={NODE}",
            f"--node-ip={NODE_IP}",
            "--v=2",
        ]
        self._api = api
        self._options = options
        self._program: Program | None = None

    def __repr__(self) -> str:
        return f"<Kubelet {self._program or 'not running'}>"

    def start(self) -> None:
        """Start it; returns at once."""
        sandbox = self._sandbox
        sandbox.path(f"{HOME}/resolv.conf").write_text("")
        sandbox.path(_CONFIG).write_text(json.dumps(configuration(sandbox.cgroup, self._options)))
        self._program = sandbox.popen(self._argv, LOG, environment())

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it; containers go on running."""
        if self._program is not None:
            self._program.signal(number)
            self._program.wait(20)
            self._program = None

    def kill(self) -> None:
        """The same with SIGKILL."""
        self.stop(signal.SIGKILL)

    def ensure(self) -> None:
        """Start it if it does not run, and wait until it is ready."""
        if self._program is None:
            self.start()
        self.wait()

    def restart(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it with a signal and start it again; returns when the new one has been told of its pods."""
        self.stop(number)
        self.start()
        self.wait()

    def wait(self, timeout: float = 60) -> None:
        """Wait until the node is ready and the kubelet knows its pods. Raises LabError, also when the kubelet ends.

        One that ended because the container runtime was not there yet is started again, as a node's service manager would.
        """
        wait_until(lambda: self._healthy() and self._node_ready() and self._knows_pods(), timeout, "the kubelet", 0.05)

    def log(self) -> str:
        """What the kubelet has logged, over all its restarts."""
        return self._sandbox.path(LOG).read_text(errors="replace")

    def node(self) -> Object:
        """The node's object."""
        return self._api.call("GET", f"/api/v1/nodes/{NODE}")

    def _healthy(self) -> bool:
        if self._program is None or self._program.poll() is not None:
            errors = [line for line in self.log().splitlines() if line.startswith(("E", "F"))]
            if self._program is None or not errors or _NO_RUNTIME not in errors[-1]:
                raise LabError("the kubelet has ended:\n" + "\n".join(errors[-5:]))
            self.start()
        try:
            return self._api.text("GET", f"/api/v1/nodes/{NODE}/proxy/healthz", timeout=5) == "ok"
        except (OSError, ApiError):
            return False

    def _node_ready(self) -> bool:
        node = self.node()
        ready = any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"].get("conditions", []))
        return ready and _TAINT not in [taint["key"] for taint in node["spec"].get("taints", [])]

    def _knows_pods(self) -> bool:
        """Whether all pods of the node have been synchronised to the kubelet: a new one has none at first."""
        wanted = self._uids(f"/api/v1/pods?fieldSelector=spec.nodeName%3D{NODE}")
        try:
            return wanted <= self._uids(f"/api/v1/nodes/{NODE}/proxy/pods")
        except ApiError:
            return False

    def _uids(self, resource: str) -> set[str]:
        return {pod["metadata"]["uid"] for pod in self._api.items(resource)}
