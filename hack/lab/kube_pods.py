"""Pods of a cluster: manifests to ask for them, and what the API says of them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lab.image import BUSYBOX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lab.api_server import Object

SLEEP: Final = ("sh", "-c", "trap 'exit 0' TERM; sleep 1000000 & wait")
"""Ends at SIGTERM, as few processes with the number 1 do: a pod that is deleted is gone at once, not when its grace period is over."""


def container(name: str = "c", command: Sequence[str] = SLEEP, devices: Mapping[str, int] | None = None) -> Object:
    """A container of the lab's busybox that asks so many devices of each resource."""
    return {
        "name": name,
        "image": BUSYBOX,
        "imagePullPolicy": "Never",
        "command": list(command),
        # a limit of 0 is not the same as none: a kubelet that has forgotten the plugin refuses it
        "resources": {"limits": {resource: str(count) for resource, count in (devices or {}).items() if count}},
    }


def pod(name: str, *containers: Object, init: Sequence[Object] = (), restart: str = "Always", **spec: Any) -> Object:  # noqa: ANN401 - JSON
    """A pod that is deleted without a grace period; more fields of its spec as keywords."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "containers": list(containers),
            "initContainers": list(init),
            "restartPolicy": restart,
            "terminationGracePeriodSeconds": 0,
            **spec,
        },
    }


def asking(name: str, resource: str, count: int, restart: str = "Always") -> Object:
    """The plainest pod that asks for devices: one container `c`, which sleeps."""
    return pod(name, container(devices={resource: count}), restart=restart)


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    """A container's status: `state` is waiting, running or terminated, `reason` and `message` are those of the state."""

    name: str
    id: str
    """The runtime's id of the latest container; empty before the first."""
    ready: bool
    restarts: int
    state: str
    reason: str
    message: str
    exit_code: int | None
    last_reason: str
    """Why the container before this one ended."""


@dataclass(frozen=True, slots=True)
class PodStatus:
    """What the API says of a pod: phase, reason, message, and its containers by name, init containers too."""

    uid: str
    phase: str
    reason: str
    message: str
    containers: Mapping[str, ContainerStatus]
    main: tuple[str, ...]
    """The names of the containers that are not init containers."""

    @property
    def running(self) -> bool:
        """Whether the pod runs with all containers ready."""
        return self.phase == "Running" and all(
            name in self.containers and self.containers[name].ready for name in self.main
        )


def pod_status(it: Object) -> PodStatus:
    """The status of a pod's object."""
    status = it["status"]
    rows = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    return PodStatus(
        it["metadata"]["uid"],
        status.get("phase", ""),
        status.get("reason", ""),
        status.get("message", ""),
        {row["name"]: _container_status(row) for row in rows},
        tuple(one["name"] for one in it["spec"]["containers"]),
    )


def _container_status(row: Object) -> ContainerStatus:
    # a status has one state; before the kubelet has said anything it has none
    states: Object = row.get("state") or {"waiting": {}}
    ((state, detail),) = states.items()
    last = row.get("lastState", {}).get("terminated", {})
    return ContainerStatus(
        row["name"],
        row.get("containerID", "").partition("//")[2],
        row.get("ready", False),
        row.get("restartCount", 0),
        state,
        detail.get("reason", ""),
        detail.get("message", ""),
        detail.get("exitCode"),
        last.get("reason", ""),
    )


@dataclass(frozen=True, slots=True)
class Event:
    """An event of an object. Equal ones are one event that counts."""

    type: str
    reason: str
    message: str
    count: int
    source: str
    first: str


def events(items: Sequence[Object]) -> list[Event]:
    """The events of a list, oldest first."""
    rows = [
        Event(
            one.get("type") or "",
            one.get("reason") or "",
            one.get("message") or "",
            one.get("count") or (one.get("series") or {}).get("count") or 1,
            (one.get("source") or {}).get("component") or one.get("reportingComponent") or "",
            one.get("firstTimestamp") or one.get("eventTime") or "",
        )
        for one in items
    ]
    return sorted(rows, key=lambda event: event.first)
