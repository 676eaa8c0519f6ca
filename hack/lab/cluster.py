"""A real one-node Kubernetes in a sandbox of its own: a control plane, a real kubelet, and a real containerd (a `Node`).

    with Cluster("2.1") as cluster:
        mock.create(cluster.path("/"))
        agent = Agent(cluster.sandbox, "run", "--resource", mock.KIND).wait_ready()
        cluster.wait_allocatable(mock.KIND, 8)
        cluster.apply(asking("one", mock.KIND, 4))
        cluster.wait_running("one")
        cluster.exec("one", "ls", "/dev/mock"), cluster.events("one"), cluster.describe("one")
        cluster.kubelet.restart(), cluster.node.restart(), cluster.reboot()

Inside everything is where every node has it (/var/lib/kubelet, /run/nri, /run/containerd, /etc/cdi, /etc/cni), so manifests with
the usual hostPaths run as they are; from outside the same files are at `cluster.path(...)`. Pods have a network of their own and reach
the API server at its cluster IP; there is no DNS, no kube-proxy and no way out. Needs root, and what `hack/get-kubernetes` and
`hack/get-runtime` get.
"""

from __future__ import annotations

import json
import secrets
import time
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from lab import config, cri_api, kube_pods, reboot
from lab.control_plane import HOME, NODE_IP, SERVICE_IP, ControlPlane
from lab.kubelet import Kubelet
from lab.kubernetes import parts
from lab.node import Node
from lab.podresources import devices_in_use, healthy_devices
from lab.sandbox import Sandbox
from lab.started import Started
from lab.trouble import LabError, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lab.api_server import ApiServer, Object
    from lab.kube_pods import Event, PodStatus

_PODS: Final = "/api/v1/namespaces/default/pods"
_EVENTS: Final = "/api/v1/namespaces/default/events"
_POD_NETWORK: Final = "10.124.0.0/24"
_CGROUPS: Final = Path("/sys/fs/cgroup")
_POLL: Final = 0.05
_NUDGE: Final = 1.0

_SYSCTLS: Final = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1000000,
    "kernel/keys/root_maxbytes": 25000000,
}
"""What a kubelet sets for the whole machine. Inside, these read as set already: the machine's stay as they are."""

_SPOKEN: Final = "unable to upgrade connection"
"""What `kubectl exec` says while the kubelet or containerd are just coming back: the command has not been started."""


def _cni_directory(series: str, place: Path) -> config.Table:
    """The configuration that makes containerd take the CNI plugins in `place`; the default is not the same in all its packages."""
    if config.version(series) < (2, 0):
        return {"plugins": {"io.containerd.grpc.v1.cri": {"cni": {"bin_dir": str(place)}}}}
    return {"plugins": {"io.containerd.cri.v1.runtime": {"cni": {"bin_dirs": [str(place)]}}}}


class Cluster(Started):
    """One node with containerd of one `series` ("2.1"), started by `start` or `with`.

    `kubelet` is laid over the kubelet's configuration; the other options are those of `lab.config.Options`. Raises LabError when a part is
    missing or does not come up.
    """

    def __init__(self, series: str, *, kubelet: Mapping[str, Any] | None = None, **options: Any) -> None:  # noqa: ANN401 - checked by Options
        self.series = series
        found = parts()
        self._ip = found.programs["ip"]
        self.sandbox = Sandbox(network=True)
        try:
            extra = config.merged(_cni_directory(series, found.cni), options.pop("extra", {}))
            self.node = Node(series, sandbox=self.sandbox, extra=extra, **options)
        except BaseException:
            self.sandbox.stop()
            raise
        self.control_plane = ControlPlane(self.sandbox, found)
        self.kubelet = Kubelet(self.sandbox, found.programs["kubelet"], self.api, kubelet or {})
        self._nudged: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"<Cluster {self.series}, {self.kubelet}, in {self.sandbox}>"

    def path(self, inside: str | Path) -> Path:
        """The path outside the sandbox of an absolute path inside (see `Sandbox.path`)."""
        return self.sandbox.path(inside)

    # life cycle

    def start(self) -> Self:
        """Start everything; returns when the node is ready for pods."""
        self._network()
        self._machine()
        self.control_plane.start()
        self.node.start()
        self.kubelet.start()
        wait_until(lambda: self._has("/api/v1/nodes"), 60, "the node's registration", _POLL)
        self.kubelet.wait()
        paths = [
            f"/api/v1/namespaces/default/{one}" for one in ("serviceaccounts/default", "configmaps/kube-root-ca.crt")
        ]
        wait_until(lambda: all(map(self.api.find, paths)), 30, "what every pod is given", _POLL)
        return self

    def stop(self) -> None:
        """End everything; nothing is left. May be called again."""
        self.node.cri.close()
        self.sandbox.stop()

    def reboot(self) -> None:
        """As if the node had lost power: every process and mount of it is gone, /run is empty, what is on its disk stays.

        Nothing is started again: call `node.start()` and `kubelet.start()` in the order that the test is about. The control plane, which is on
        another machine in real life, runs on.
        """
        reboot.power_off(self.sandbox, [program.pid for program in self.control_plane.programs.values()])
        self.kubelet.stop()
        self.node.stop_daemon()
        self._new_boot_id()

    def _network(self) -> None:
        lines = (
            f"{self._ip} link set lo up",
            f"{self._ip} link add name lab0 type bridge",
            f"{self._ip} addr add {NODE_IP}/24 dev lab0",
            f"{self._ip} link set lab0 up",
            f"{self._ip} addr add {SERVICE_IP}/32 dev lo",
            # what the machine itself has of these must not be found inside
            "rm -rf /etc/cni/net.d",
            "mkdir -p /etc/cni/net.d",
        )
        self.sandbox.run("sh", "-ec", "\n".join(lines))
        ipam = {
            "type": "host-local",
            "ranges": [[{"subnet": _POD_NETWORK}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        chain = {"cniVersion": "1.0.0", "name": "lab", "plugins": [{"type": "ptp", "mtu": 1500, "ipam": ipam}]}
        self.path("/etc/cni/net.d/10-lab.conflist").write_text(json.dumps(chain))

    def _machine(self) -> None:
        directory = f"{HOME}-machine"
        self.path(directory).mkdir(parents=True)
        for name, value in _SYSCTLS.items():
            file = f"{directory}/{name.replace('/', '.')}"
            self.path(file).write_text(f"{value}\n")
            self.sandbox.run("mount", "--bind", file, f"/proc/sys/{name}")
        file = f"{directory}/boot_id"
        self.path(file).touch()
        self._new_boot_id()
        self.sandbox.run("mount", "--bind", file, "/proc/sys/kernel/random/boot_id")
        if (_CGROUPS / "cgroup.controllers").exists():
            (_CGROUPS / self.sandbox.name).mkdir()
            return
        for hierarchy in {path.resolve() for path in _CGROUPS.iterdir() if (path / "cgroup.procs").exists()}:
            group = hierarchy / self.sandbox.name
            group.mkdir(exist_ok=True)
            for setting in ("cpuset.cpus", "cpuset.mems"):
                if (group / setting).exists() and not (group / setting).read_text().strip():
                    (group / setting).write_text((hierarchy / setting).read_text())

    def _new_boot_id(self) -> None:
        digits = secrets.token_hex(16)
        groups = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
        self.path(f"{HOME}-machine/boot_id").write_text("-".join(groups) + "\n")

    # the API

    @property
    def api(self) -> ApiServer:
        """The client of the API server."""
        return self.control_plane.api

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Standard output of kubectl (see `ControlPlane.kubectl`)."""
        return self.control_plane.kubectl(*arguments, stdin=stdin)

    def apply(self, *objects: Object) -> None:
        """`kubectl apply` of all these objects."""
        self.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def create(self, *pods: Object) -> None:
        """Create these pods, quickly: one call to the API for each."""
        for one in pods:
            self.api.call("POST", _PODS, one)

    def delete(self, *names: str, wait: bool = True) -> None:
        """Delete these pods; those that are not there are gone already."""
        there = [name for name in names if self.api.find(f"{_PODS}/{name}") is not None]
        for name in there:
            self.api.call("DELETE", f"{_PODS}/{name}")
        if wait:
            wait_until(lambda: not any(map(self.pod, there)), 60, f"the end of the pods {', '.join(there)}", _POLL)

    def delete_all(self) -> None:
        """Delete all pods of the default namespace and wait for their end."""
        self.delete(*(one["metadata"]["name"] for one in self.api.items(_PODS)))

    def pod(self, name: str) -> PodStatus | None:
        """A pod's status, or None if there is none of that name."""
        found = self.api.find(f"{_PODS}/{name}")
        return None if found is None else kube_pods.pod_status(found)

    def status(self, name: str) -> PodStatus:
        """A pod's status. Raises LabError if there is none of that name."""
        found = self.pod(name)
        if found is None:
            raise LabError(f"there is no pod {name}")
        return found

    def wait(self, name: str, condition: Callable[[PodStatus], object], what: str, timeout: float = 60) -> PodStatus:
        """Wait until a pod's status is as `condition` wants it. Raises LabError with the pod's status and events."""
        try:
            wait_until(lambda: condition(self.status(name)), timeout, f"pod {name} {what}", _POLL)
        except LabError as error:
            said = "\n".join(f"  {event.reason} x{event.count}: {event.message}" for event in self.events(name))
            raise LabError(f"{error}; {self.pod(name)}; its events:\n{said}") from None
        return self.status(name)

    def wait_running(self, *names: str, timeout: float = 60) -> None:
        """Wait until all these pods run with all containers ready."""
        end = time.monotonic() + timeout
        for name in names:
            self.wait(name, lambda status: status.running, "to run", max(0.0, end - time.monotonic()))

    def nudge(self, *names: str) -> None:
        """Make the kubelet look at these pods now, once in a second at most: what failed it tries again after 10 to 15 s else.

        A crash back-off is not cut short (see `IMPATIENT`).
        """
        now = time.monotonic()
        for name in names:
            if now - self._nudged.get(name, -_NUDGE) >= _NUDGE:
                self._nudged[name] = now
                self.api.call("PATCH", f"{_PODS}/{name}", {"metadata": {"annotations": {"lab/nudged": str(now)}}})

    def hurry(self, *names: str, timeout: float = 60) -> None:
        """As `wait_running`, where it is not the point when the kubelet tries again: the pods are nudged."""
        end = time.monotonic() + timeout

        def runs(status: PodStatus) -> bool:
            if not status.running:
                self.nudge(*names)
            return status.running

        for name in names:
            self.wait(name, runs, "to run", max(0.0, end - time.monotonic()))

    def wait_phase(self, name: str, phase: str, timeout: float = 60) -> PodStatus:
        """Wait until a pod is in a phase (Succeeded, Failed, ...)."""
        return self.wait(name, lambda status: status.phase == phase, f"to be {phase}", timeout)

    def wait_reason(self, name: str, reason: str, container: str = "c", timeout: float = 60) -> str:
        """Wait until a container's state has a reason; the message of that state."""

        def stands(status: PodStatus) -> bool:
            return container in status.containers and status.containers[container].reason == reason

        found = self.wait(name, stands, f"to stand at {reason}", timeout)
        return found.containers[container].message if stands(found) else ""

    def events(self, name: str) -> list[Event]:
        """The events of the objects of that name, oldest first."""
        query = urllib.parse.urlencode({"fieldSelector": f"involvedObject.name={name}"})
        return kube_pods.events(self.api.items(f"{_EVENTS}?{query}"))

    def wait_event(self, name: str, reason: str, text: str = "", timeout: float = 60) -> Event:
        """Wait for an event with that reason and that text in its message; the latest one."""

        def found() -> list[Event]:
            return [event for event in self.events(name) if event.reason == reason and text in event.message]

        try:
            wait_until(found, timeout, f"an event {reason} {text!r} of {name}", _POLL)
        except LabError as error:
            raise LabError(f"{error}; {self.events(name)}") from None
        return found()[-1]

    def describe(self, name: str) -> str:
        """`kubectl describe pod`."""
        return self.kubectl("describe", "pod", name)

    def shown(self, name: str) -> tuple[str, str]:
        """READY and STATUS as `kubectl get pod` shows them."""
        words = self.kubectl("get", "pod", name, "--no-headers").split()
        return words[1], words[2]

    def exec(self, name: str, *command: str, container: str = "c", timeout: float = 15) -> str:
        """Standard output of a command in a container, by `kubectl exec`."""
        end = time.monotonic() + timeout
        while True:
            try:
                return self.kubectl("exec", name, "-c", container, "--", *command)
            except LabError as error:
                if _SPOKEN not in str(error) or time.monotonic() > end:
                    raise
            time.sleep(0.2)

    def logs(self, name: str, container: str = "c") -> str:
        """What a container has written to its output."""
        return self.kubectl("logs", name, "-c", container)

    def end(self, name: str, container: str = "c") -> None:
        """End a container's process, as a crash would; a restart policy applies."""
        self.node.cri.stop_container(self.status(name).containers[container].id)

    def running(self) -> set[str]:
        """The ids of all containers that run, also of those that are being stopped, and of pods that are gone for the API server."""
        return {one.id for one in self.node.cri.containers() if one.state == cri_api.CONTAINER_RUNNING}

    def spec(self, name: str, container: str = "c") -> Object:
        """The OCI spec of a pod's container, adjustments of NRI plugins included."""
        info = self.node.cri.container_status(self.status(name).containers[container].id, verbose=True).info["info"]
        spec: Object = json.loads(info)["runtimeSpec"]
        return spec

    # devices

    def resource(self, name: str) -> tuple[int, int]:
        """Capacity and allocatable of a resource of the node; 0 for one that it has never had."""
        status = self.kubelet.node()["status"]
        return int(status["capacity"].get(name, 0)), int(status["allocatable"].get(name, 0))

    def wait_allocatable(self, name: str, count: int, timeout: float = 30) -> None:
        """Wait until so many devices of a resource are allocatable: for the scheduler, and for the kubelet as it is now."""

        def there() -> bool:
            return len(healthy_devices(self.path("/"), name)) == count == self.resource(name)[1]

        wait_until(there, timeout, f"{count} {name} allocatable", _POLL)

    def devices(self, name: str, container: str = "c") -> list[str]:
        """The ids of the devices that the kubelet's pod resources API says a container has, sorted."""
        return devices_in_use(self.path("/")).get(("default", name, container), [])

    def _has(self, resource: str) -> bool:
        return bool(self.api.items(resource))
