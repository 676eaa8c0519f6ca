"""The control plane of a one-node Kubernetes: etcd, API server, scheduler, controller manager, and a proxy for us, all in one sandbox.

Everything of it lies in /var/lib/kubernetes inside, so that a reboot of the node, which empties /run, leaves it alone.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Final

from lab.api_server import ApiError, ApiServer
from lab.trouble import LabError, wait_until

if TYPE_CHECKING:
    from lab.kubernetes import Parts
    from lab.sandbox import Program, Sandbox

HOME: Final = "/var/lib/kubernetes"
NODE_IP: Final = "10.123.0.1"
SERVICE_IP: Final = "10.96.0.1"
"""The cluster IP of the service `kubernetes`; the API server itself listens on it, there is no kube-proxy."""

NODE: Final = "node-1"

_SERVICES: Final = "10.96.0.0/24"
_ADMIN: Final = f"{HOME}/admin.kubeconfig"
KUBELET_CONFIG: Final = f"{HOME}/kubelet.kubeconfig"
_NOT_INHERITED: Final = ("OTEL_", "KUBE", "ETCD_", "CONTAINERD_", "GRPC_", "NRI_")
_TAIL: Final = 3000


def environment() -> dict[str, str]:
    """The environment of a component: ours, less what would configure it, and less a proxy that is no business of its."""
    inherited = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(_NOT_INHERITED) and not key.lower().endswith("_proxy")
    }
    return {**inherited, "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"}


class ControlPlane:
    """The components in `sandbox`, which has a network of its own; nothing runs before `start`. `api` is the client."""

    def __init__(self, sandbox: Sandbox, parts: Parts) -> None:
        self._sandbox = sandbox
        self._parts = parts
        self.programs: dict[str, Program] = {}
        self.api = ApiServer(sandbox.path(f"{HOME}/api.sock"))

    def __repr__(self) -> str:
        return f"<ControlPlane {', '.join(self.programs) or 'not running'}, in {self._sandbox}>"

    def start(self) -> None:
        """Write the files and start all components; returns when the API server is ready."""
        self._files()
        self._spawn(
            "etcd",
            f"--data-dir={HOME}/etcd",
            # a throwaway cluster: losing the last write when the machine dies is no loss
            "--unsafe-no-fsync",
            "--listen-client-urls=http://127.0.0.1:2379",
            "--advertise-client-urls=http://127.0.0.1:2379",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--initial-advertise-peer-urls=http://127.0.0.1:2380",
            "--initial-cluster=default=http://127.0.0.1:2380",
        )
        self._spawn(
            "kube-apiserver",
            "--etcd-servers=http://127.0.0.1:2379",
            "--secure-port=443",
            "--bind-address=0.0.0.0",
            f"--advertise-address={NODE_IP}",
            f"--cert-dir={HOME}/pki",
            f"--token-auth-file={HOME}/tokens.csv",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged=true",
            "--anonymous-auth=false",
            f"--service-cluster-ip-range={_SERVICES}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={HOME}/service-account.key",
            f"--service-account-signing-key-file={HOME}/service-account.key",
            "--kubelet-preferred-address-types=InternalIP",
        )
        # the API server makes its certificate at its start
        certificate = self._sandbox.path(f"{HOME}/pki/apiserver.crt")
        wait_until(lambda: self._alive() and certificate.exists(), 30, "the API server's certificate", 0.05)
        self._spawn("kubectl", f"--kubeconfig={_ADMIN}", "proxy", f"--unix-socket={HOME}/api.sock", "--reject-paths=^$")
        wait_until(self._ready, 60, "the API server", 0.05)
        self._spawn(
            "kube-controller-manager",
            f"--kubeconfig={_ADMIN}",
            "--leader-elect=false",
            f"--root-ca-file={HOME}/pki/apiserver.crt",
            f"--service-account-private-key-file={HOME}/service-account.key",
            "--bind-address=127.0.0.1",
        )
        self._spawn("kube-scheduler", f"--kubeconfig={_ADMIN}", "--leader-elect=false", "--bind-address=127.0.0.1")

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        """Standard output of kubectl as the cluster's admin. Raises LabError with what it printed when it fails."""
        argv = [*self._sandbox.enter, self._parts.programs["kubectl"], f"--kubeconfig={_ADMIN}", *arguments]
        done = subprocess.run(
            argv,
            check=False,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**environment(), "HOME": HOME, "KUBECTL_KUBERC": "false"},
        )
        if done.returncode != 0:
            raise LabError(f"kubectl {' '.join(arguments)}: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def log(self, component: str) -> str:
        """What a component has logged."""
        return self._sandbox.path(f"/var/log/{component}.log").read_text(errors="replace")

    def _spawn(self, name: str, *flags: str) -> None:
        program = self._parts.programs[name]
        self.programs[name] = self._sandbox.popen([program, *flags], f"/var/log/{name}.log", environment())

    def _alive(self) -> bool:
        """True. Raises LabError when one of the components has ended."""
        for name, program in self.programs.items():
            if program.poll() is not None:
                raise LabError(f"{name} ended with {program.poll()}:\n{self.log(name)[-_TAIL:]}")
        return True

    def _ready(self) -> bool:
        try:
            return self._alive() and self.api.text("GET", "/readyz") == "ok"
        except (OSError, ApiError):
            return False

    def _files(self) -> None:
        home = self._sandbox.path(HOME)
        home.mkdir(parents=True)
        self._sandbox.run(self._parts.programs["openssl"], "genrsa", "-out", f"{HOME}/service-account.key", "2048")
        (home / "tokens.csv").write_text(
            f'admin,admin,1,"system:masters"\nkubelet,system:node:{NODE},2,"system:nodes"\n'
        )
        for user, path in (("admin", _ADMIN), ("kubelet", KUBELET_CONFIG)):
            cluster = {"server": f"https://{SERVICE_IP}:443", "certificate-authority": f"{HOME}/pki/apiserver.crt"}
            self._sandbox.path(path).write_text(
                json.dumps(
                    {
                        "apiVersion": "v1",
                        "kind": "Config",
                        "current-context": "lab",
                        "clusters": [{"name": "lab", "cluster": cluster}],
                        "users": [{"name": user, "user": {"token": user}}],
                        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": user}}],
                    }
                )
            )
