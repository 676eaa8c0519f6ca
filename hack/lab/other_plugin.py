"""Another vendor's device plugin on the node: `other_plugin.py RESOURCE ID...` offers these devices and registers once, as many plugins do."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import grpc

sys.path[:0] = [
    str(Path(__file__).resolve().parents[place]) for place in (2, 1)
]  # it runs from a checkout that nobody has installed

# below the line that makes them importable
from lab.kubelet import DEVICE_PLUGINS, SOCKET  # noqa: E402
from nri_cdi.kubelet import api  # noqa: E402
from nri_cdi.kubelet.plugin import Answers, DevicePlugin  # noqa: E402
from nri_cdi.kubelet.told import Device, Resource  # noqa: E402

DIRECTORY = "other"
"""A directory of its own below the kubelet's: its socket is named like ours."""


def serve(resource: str, ids: list[str]) -> None:
    """Serve and register, for ever."""
    directory = Path(DEVICE_PLUGINS, DIRECTORY)
    directory.mkdir(exist_ok=True)
    devices = tuple(Device(device, f"other.example.com/gpu={device}") for device in ids)
    answers = Answers("other.example.com/", guard=False, ready=lambda _: None)
    plugin = DevicePlugin(Resource(resource, "other.example.com/gpu", devices), directory, answers, lambda: None)
    plugin.bind()
    request = api.RegisterRequest(version="v1beta1", endpoint=f"{DIRECTORY}/{plugin.path.name}", resource_name=resource)
    with grpc.insecure_channel(f"unix://{SOCKET}") as channel:
        register = channel.unary_unary(
            "/v1beta1.Registration/Register", api.RegisterRequest.SerializeToString, api.Empty.FromString
        )
        register(request, timeout=15)
    print("registered", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2:])
