"""Pods and containers of a node, asked for as the kubelet asks."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from lab import cri_api as api
from lab.image import BUSYBOX
from lab.trouble import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lab.node import Node

SLEEP = ("sleep", "1000000")


class Pod:
    """A running pod sandbox, in the host's network namespace (so that no CNI is needed). Raises CriError if it is refused."""

    def __init__(
        self,
        node: Node,
        name: str,
        *,
        annotations: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        namespace: str = "default",
        runtime_handler: str = "",
    ) -> None:
        self.node = node
        self.name = name
        uid = str(uuid.uuid4())
        self.config = api.PodSandboxConfig(
            metadata=api.PodSandboxMetadata(name=name, uid=uid, namespace=namespace),
            # the shims make it
            log_directory=f"/var/log/pods/{namespace}_{name}_{uid}",
            labels=labels,
            annotations=annotations,
            linux=api.LinuxPodSandboxConfig(
                cgroup_parent=f"{node.sandbox.cgroup}/pod{uid}",
                security_context=api.LinuxSandboxSecurityContext(
                    namespace_options=api.NamespaceOption(network=api.NODE, pid=api.CONTAINER)
                ),
            ),
        )
        self.id = node.cri.run_pod_sandbox(self.config, runtime_handler)

    def __repr__(self) -> str:
        return f"<Pod {self.name} {self.id[:12]}>"

    def container(
        self,
        name: str = "c",
        *,
        annotations: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        mounts: Sequence[api.Mount] = (),
        user: int | None = None,
        args: Sequence[str] = SLEEP,
        extra: api.ContainerConfig | None = None,
        timeout: float | None = None,
    ) -> Container:
        """Create a container; `extra` (devices, CDI_devices, ...) is merged over what the other arguments say.

        Raises CriError if the runtime refuses, which is where the NRI half says no.
        """
        security = api.LinuxContainerSecurityContext(
            namespace_options=api.NamespaceOption(network=api.NODE, pid=api.CONTAINER),
            seccomp=api.SecurityProfile(profile_type=api.SecurityProfile.Unconfined),
            run_as_user=None if user is None else api.Int64Value(value=user),
        )
        config = api.ContainerConfig(
            metadata=api.ContainerMetadata(name=name),
            image=api.ImageSpec(image=BUSYBOX),
            command=args,
            envs=[api.KeyValue(key=key, value=value) for key, value in (env or {}).items()],
            mounts=mounts,
            annotations=annotations,
            log_path=f"{name}.log",
            linux=api.LinuxContainerConfig(security_context=security),
        )
        if extra is not None:
            config.MergeFrom(extra)
        return Container(self, name, self.node.cri.create_container(self.id, config, self.config, timeout))

    def stop(self) -> None:
        """Stop the sandbox and its containers."""
        self.node.cri.stop_pod_sandbox(self.id)

    def remove(self) -> None:
        """Stop and remove the sandbox and its containers."""
        self.stop()
        self.node.cri.remove_pod_sandbox(self.id)


class Container:
    """A created container of a pod."""

    def __init__(self, pod: Pod, name: str, container_id: str) -> None:
        self.pod = pod
        self.name = name
        self.id = container_id
        self._cri = pod.node.cri

    def __repr__(self) -> str:
        return f"<Container {self.name} {self.id[:12]} of {self.pod.name}>"

    def start(self, timeout: float | None = None) -> Container:
        """Start it; returns itself. Raises CriError if the runtime refuses, which is where gate and guard say no."""
        self._cri.start_container(self.id, timeout)
        return self

    def sh(self, script: str) -> tuple[int, str]:
        """Exit status and output (standard output, then standard error) of a shell script run inside."""
        answer = self._cri.exec_sync(self.id, ["sh", "-c", script])
        return answer.exit_code, (answer.stdout + answer.stderr).decode(errors="replace")

    def exec(self, *command: str) -> str:
        """Standard output of a command that must succeed inside. Raises LabError with its standard error."""
        answer = self._cri.exec_sync(self.id, list(command))
        if answer.exit_code != 0:
            text = answer.stderr.decode(errors="replace").strip()
            raise LabError(f"{' '.join(command)} in {self!r} ended with {answer.exit_code}: {text}")
        return answer.stdout.decode(errors="replace")

    def spec(self) -> dict[str, Any]:
        """The OCI spec that the runtime keeps for it, adjustments of NRI plugins included."""
        info = json.loads(self._cri.container_status(self.id, verbose=True).info["info"])
        spec: dict[str, Any] = info["runtimeSpec"]
        return spec

    def status(self) -> api.ContainerStatus:
        """State, exit status, reason, annotations."""
        return self._cri.container_status(self.id).status

    def running(self) -> bool:
        """Whether the runtime says that it runs."""
        return self.status().state == api.CONTAINER_RUNNING

    def log(self) -> str:
        """What it wrote to standard output and standard error, in the CRI's log format; empty before it started."""
        path = self.pod.node.sandbox.path(f"{self.pod.config.log_directory}/{self.name}.log")
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self, grace: int = 0) -> None:
        """Stop it, with SIGKILL after `grace` seconds."""
        self._cri.stop_container(self.id, grace)

    def remove(self) -> None:
        """Remove it, running or not."""
        self._cri.remove_container(self.id)
