"""The rest of a kubelet around `FakeKubelet`: a pod's way from its request for devices to its running container.

The way is the kubelet's (pkg/kubelet, 1.34): schedule, Allocate, RunPodSandbox, then for each try PreStartContainer,
CreateContainer, StartContainer. Allocate's answer goes into CRI as the kubelet puts it there, and is kept for the
pod's life: later tries use it again. What the kubelet tries again is tried again here, sooner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lab import cri_api as api
from lab.cri import CriError
from lab.trouble import LabError, wait_until
from nri_cdi.testing.kubelet import Insufficient, PreStartError, UnexpectedAdmissionError

if TYPE_CHECKING:
    from lab.node import Node
    from lab.pods import Container, Pod
    from nri_cdi.kubelet.api import ContainerAllocateResponse
    from nri_cdi.testing.kubelet import Allocated, FakeKubelet

CONTAINER: Final = "c"
_RETRY: Final = 0.2  # seconds; the kubelet takes 11 to 14


@dataclass(frozen=True, slots=True)
class Status:
    """Where a pod stands: what `kubectl get pod` and the pod's latest event would say."""

    phase: str
    """Pending, Running or Failed. A pod whose container failed to start is Running already, with a `reason`: so says the kubelet."""

    reason: str = ""
    """Why it does not run: Unschedulable, CreateContainerError, ..."""

    message: str = ""
    """The text of the event, as it came from the scheduler, the plugin or the runtime."""

    @property
    def running(self) -> bool:
        """Whether the container runs."""
        return self.phase == "Running" and not self.reason


def container_config(answer: ContainerAllocateResponse) -> api.ContainerConfig:
    """Allocate's answer as the kubelet puts it into the CRI container."""
    return api.ContainerConfig(
        annotations=answer.annotations,
        envs=[api.KeyValue(key=key, value=value) for key, value in answer.envs.items()],
        mounts=[
            api.Mount(container_path=mount.container_path, host_path=mount.host_path, readonly=mount.read_only)
            for mount in answer.mounts
        ],
        devices=[
            api.Device(container_path=device.container_path, host_path=device.host_path, permissions=device.permissions)
            for device in answer.devices
        ],
        CDI_devices=[api.CDIDevice(name=device.name) for device in answer.cdi_devices],
    )


class StandInPod:
    """A pod with one container that asks `count` devices of `resource` (0: none). Nothing happens before `sync`."""

    def __init__(self, kubelet: FakeKubelet, node: Node, name: str, resource: str, count: int) -> None:
        self.name = name
        self.resource = resource
        self.count = count
        self.status = Status("Pending")
        self.allocated: Allocated | None = None
        self.container: Container | None = None
        self._kubelet = kubelet
        self._node = node
        self._pod: Pod | None = None

    def __repr__(self) -> str:
        return f"<StandInPod {self.name}, {self.count} of {self.resource}, {self.status.phase} {self.status.reason}>"

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the devices that it was allocated."""
        return () if self.allocated is None else self.allocated.ids

    def admit(self) -> bool:
        """Schedule the pod and Allocate its devices, once. Returns whether it is admitted; `status` says why not."""
        if self.count and self.allocated is None:
            try:
                self.allocated = self._kubelet.allocate(self.resource, self.count)
            except Insufficient as error:
                self.status = Status("Pending", "Unschedulable", str(error))
                return False
            except UnexpectedAdmissionError as error:
                self.status = Status("Failed", "UnexpectedAdmissionError", str(error))
                return False
        return True

    def sync(self) -> Status:
        """Go as far towards a running container as one try of the kubelet goes. Returns the new `status`."""
        if not self.status.running and self.status.phase != "Failed" and self.admit():
            self.status = self._start()
        return self.status

    def _start(self) -> Status:
        try:
            if self._pod is None:
                labels = {"io.kubernetes.pod.name": self.name, "io.kubernetes.pod.namespace": "default"}
                self._pod = self._node.pod(self.name, labels=labels)
        except CriError as error:
            return Status("Pending", "FailedCreatePodSandBox", error.details)
        try:
            if self.count:
                self._kubelet.prestart(self.resource, self.ids)
        except PreStartError as error:
            return Status("Pending", "CreateContainerConfigError", str(error))
        config = api.ContainerConfig() if self.allocated is None else container_config(self.allocated.response)
        try:
            container = self._pod.container(CONTAINER, extra=config)
        except CriError as error:
            return Status("Pending", "CreateContainerError", error.details)
        try:
            container.start()
        except CriError as error:
            container.remove()
            return Status("Running", "RunContainerError", error.details)
        self.container = container
        return Status("Running")

    def wait_running(self, timeout: float) -> None:
        """Try until it runs. Raises LabError with the latest status after `timeout` seconds."""
        try:
            wait_until(lambda: self.sync().running, timeout, f"pod {self.name}", _RETRY)
        except LabError as error:
            raise LabError(f"{error}: {self.status.reason}: {self.status.message}") from None

    def restart_container(self) -> Status:
        """The container ended and the kubelet starts it anew: no Allocate, the answer from the checkpoint. Returns `status`."""
        if self.container is not None:
            self.container.remove()
            self.container = None
        self.status = Status("Pending")
        return self.sync()

    def running_containers(self) -> int:
        """How many containers of the pod run now, as the runtime says."""
        if self._pod is None:
            return 0
        return sum(one.state == api.CONTAINER_RUNNING for one in self._node.cri.containers(self._pod.id))

    def delete(self) -> None:
        """Remove the pod and free its devices."""
        if self._pod is not None:
            self._pod.remove()
            self._pod = None
        if self.allocated is not None:
            self._kubelet.free(self.resource, self.ids)
            self.allocated = None
        self.container = None
        self.status = Status("Pending", "Deleted")
