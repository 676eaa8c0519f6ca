"""Values that the chart is rendered, linted and offered to a real API server with."""

from __future__ import annotations

from typing import Any, Final

from lab import mock

GPU: Final = mock.KIND

MATRIX: Final[list[dict[str, Any]]] = [
    {},
    {"advertise": [GPU]},
    {"advertise": [GPU, "vendor.com/nic"], "nri": {"plugin": {"name": "cdi", "index": 5}}},
    {"advertise": [GPU], "nri": {"plugin": {"index": 98}, "socketDir": "/run/k3s/nri"}},
    {"advertise": [GPU], "kubelet": {"dir": "/var/snap/microk8s/common/var/lib/kubelet"}},
    {"advertise": [GPU], "cdi": {"annotationPrefix": "nri-cdi.dev/", "specDirs": [{"path": "/var/cdi/static"}]}},
    {"advertise": [GPU], "cdi": {"specDirs": [{"path": "/etc/cdi", "mountParent": False}]}, "hostPaths": []},
    {"advertise": [GPU], "guard": False, "log": {"level": "debug", "format": "json"}, "hostPaths": ["/dev", "/opt/v"]},
    {"advertise": [GPU], "settings": {"settle": 30, "pre-start": False, "exclude": ["*=all"]}, "http": {"port": 20000}},
    {"advertise": [GPU], "image": {"repository": "r.example/x", "digest": f"sha256:{'0' * 64}"}},
    {"advertise": [GPU], "image": {"tag": "v9"}, "imagePullSecrets": [{"name": "s"}], "fullnameOverride": "agent"},
    {
        "advertise": [GPU],
        "nameOverride": "devices",
        "tolerations": [],
        "nodeSelector": {},
        "affinity": {"nodeAffinity": {}},
    },
    {
        "advertise": [GPU],
        "cdi": {"specDirs": [{"path": "/etc/cdi", "mountParent": True}, {"path": "/etc/more", "mountParent": True}]},
        "hostPaths": ["/dev", "/etc"],
        "priorityClassName": "",
        "podAnnotations": {"kubectl.kubernetes.io/default-container": "device-plugin"},
    },
    {"advertise": [GPU], "seLinuxOptions": {"type": "spc_t"}, "podLabels": {"a": "b"}, "podAnnotations": {"c": "d"}},
    {"advertise": [GPU], "updateStrategy": {"type": "OnDelete", "rollingUpdate": None}},
    {"advertise": [GPU], "serviceAccount": {"create": False}, "resources": {"nri": {"limits": {"memory": "1Gi"}}}},
    {"advertise": [GPU], "serviceAccount": {"name": "sa", "annotations": {"a": "b"}}},
    {"advertise": [GPU], "kubelet": {"registration": "plugins-registry"}},
    {"advertise": [GPU], "kubelet": {"registration": "plugins-registry", "rootDir": "/var/lib/k0s/kubelet"}},
    {"advertise": [f"Vendor.com/GPU={GPU}"], "requiredPluginsPolicy": {"enabled": True}},
]
