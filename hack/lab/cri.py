"""A client of the Container Runtime Interface: what the kubelet says to containerd, said by a test."""

from __future__ import annotations

from typing import TypeVar, cast

import grpc
from google.protobuf.message import Message

from lab import cri_api as api

_RUNTIME = "runtime.v1.RuntimeService"
_IMAGES = "runtime.v1.ImageService"
_MAX_MESSAGE = 64 << 20

_Answer = TypeVar("_Answer", bound=Message)


class CriError(Exception):
    """The runtime refused a call. `code` is gRPC's; `details` is the text that the kubelet would show in the pod's event."""

    def __init__(self, method: str, code: grpc.StatusCode, details: str) -> None:
        super().__init__(f"{method}: {code.name}: {details}")
        self.method = method
        self.code = code
        self.details = details


def _refusal(method: str, error: grpc.RpcError) -> CriError:
    # grpcio raises an error that is a call as well, which its types do not say
    call = cast("grpc.Call", error)
    return CriError(method, call.code(), call.details() or "")


class Cri:
    """CRI calls on the socket at `address`. Each method is one call; each raises CriError when the runtime refuses or is not there."""

    def __init__(self, address: str, timeout: float = 60.0) -> None:
        self._timeout = timeout
        self._channel = grpc.insecure_channel(
            f"unix://{address}",
            options=[
                ("grpc.max_receive_message_length", _MAX_MESSAGE),
                ("grpc.max_send_message_length", _MAX_MESSAGE),
                # a restarted runtime is to be found again at once
                ("grpc.initial_reconnect_backoff_ms", 20),
                ("grpc.min_reconnect_backoff_ms", 20),
                ("grpc.max_reconnect_backoff_ms", 100),
            ],
        )

    def close(self) -> None:
        """Close the connection; no call afterwards."""
        self._channel.close()

    def _call(
        self, service: str, method: str, request: Message, answer: type[_Answer], timeout: float | None = None
    ) -> _Answer:
        call: grpc.UnaryUnaryMultiCallable[Message, _Answer] = self._channel.unary_unary(
            f"/{service}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        try:
            result: _Answer = call(request, timeout=self._timeout if timeout is None else timeout)
        except grpc.RpcError as error:
            raise _refusal(method, error) from None
        return result

    def version(self) -> api.VersionResponse:
        """Name and version of the runtime."""
        return self._call(_RUNTIME, "Version", api.VersionRequest(), api.VersionResponse)

    def status(self, *, verbose: bool = False, timeout: float | None = None) -> api.StatusResponse:
        """Its conditions and, if `verbose`, its configuration."""
        return self._call(_RUNTIME, "Status", api.StatusRequest(verbose=verbose), api.StatusResponse, timeout)

    def run_pod_sandbox(self, config: api.PodSandboxConfig, runtime_handler: str = "") -> str:
        """The id of the new pod sandbox."""
        request = api.RunPodSandboxRequest(config=config, runtime_handler=runtime_handler)
        return self._call(_RUNTIME, "RunPodSandbox", request, api.RunPodSandboxResponse).pod_sandbox_id

    def stop_pod_sandbox(self, pod_sandbox_id: str) -> None:
        """Stop a pod sandbox and its containers."""
        request = api.StopPodSandboxRequest(pod_sandbox_id=pod_sandbox_id)
        self._call(_RUNTIME, "StopPodSandbox", request, api.StopPodSandboxResponse)

    def remove_pod_sandbox(self, pod_sandbox_id: str) -> None:
        """Remove a pod sandbox and its containers."""
        request = api.RemovePodSandboxRequest(pod_sandbox_id=pod_sandbox_id)
        self._call(_RUNTIME, "RemovePodSandbox", request, api.RemovePodSandboxResponse)

    def pod_sandboxes(self) -> list[api.PodSandbox]:
        """All pod sandboxes."""
        return list(
            self._call(_RUNTIME, "ListPodSandbox", api.ListPodSandboxRequest(), api.ListPodSandboxResponse).items
        )

    def create_container(
        self, pod_sandbox_id: str, config: api.ContainerConfig, pod: api.PodSandboxConfig, timeout: float | None = None
    ) -> str:
        """The id of the new container."""
        request = api.CreateContainerRequest(pod_sandbox_id=pod_sandbox_id, config=config, sandbox_config=pod)
        return self._call(_RUNTIME, "CreateContainer", request, api.CreateContainerResponse, timeout).container_id

    def start_container(self, container_id: str, timeout: float | None = None) -> None:
        """Start a created container."""
        request = api.StartContainerRequest(container_id=container_id)
        self._call(_RUNTIME, "StartContainer", request, api.StartContainerResponse, timeout)

    def stop_container(self, container_id: str, grace: int = 0) -> None:
        """Stop a container, with SIGKILL after `grace` seconds."""
        request = api.StopContainerRequest(container_id=container_id, timeout=grace)
        self._call(_RUNTIME, "StopContainer", request, api.StopContainerResponse)

    def remove_container(self, container_id: str) -> None:
        """Remove a container; a running one is killed."""
        request = api.RemoveContainerRequest(container_id=container_id)
        self._call(_RUNTIME, "RemoveContainer", request, api.RemoveContainerResponse)

    def containers(self, pod_sandbox_id: str = "") -> list[api.Container]:
        """All containers, or those of one pod."""
        request = api.ListContainersRequest(filter=api.ContainerFilter(pod_sandbox_id=pod_sandbox_id))
        return list(self._call(_RUNTIME, "ListContainers", request, api.ListContainersResponse).containers)

    def container_status(self, container_id: str, *, verbose: bool = False) -> api.ContainerStatusResponse:
        """A container's status; if `verbose`, `info["info"]` is JSON with its OCI spec."""
        request = api.ContainerStatusRequest(container_id=container_id, verbose=verbose)
        return self._call(_RUNTIME, "ContainerStatus", request, api.ContainerStatusResponse)

    def exec_sync(self, container_id: str, command: list[str], timeout: int = 20) -> api.ExecSyncResponse:
        """Run a command in a container and wait for it, `timeout` seconds at most."""
        request = api.ExecSyncRequest(container_id=container_id, cmd=command, timeout=timeout)
        return self._call(_RUNTIME, "ExecSync", request, api.ExecSyncResponse, timeout + 10.0)

    def has_image(self, name: str) -> bool:
        """Whether the runtime knows the image."""
        request = api.ImageStatusRequest(image=api.ImageSpec(image=name))
        return self._call(_IMAGES, "ImageStatus", request, api.ImageStatusResponse).HasField("image")
