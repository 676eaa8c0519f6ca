"""The two container images of the lab, made from the machine's static busybox: no registry, no network."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from lab.runtimes import cache
from lab.sandbox import which

BUSYBOX: Final = "localhost/nri-cdi/busybox:1"
"""busybox with all its applets, and nothing to run by default but a shell."""

PAUSE: Final = "localhost/nri-cdi/pause:1"
"""What holds a pod sandbox: the same layer, sleeping."""

_FORMAT: Final = "1"
"""Part of the archive's name in the cache: raise it when what is written below changes."""

_COMMANDS: Final = {BUSYBOX: ["/bin/sh"], PAUSE: ["/bin/sleep", "2147483647"]}
_DIRECTORIES: Final = ["bin", "dev", "etc", "lib", "proc", "root", "run", "sbin", "sys", "usr", "usr/bin", "var"]
_USERS: Final = b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/tmp:/bin/sh\n"
_GROUPS: Final = b"root:x:0:\nuser:x:1000:\n"
_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


def _add(tar: tarfile.TarFile, name: str, data: bytes = b"", mode: int = 0o755) -> None:
    info = tarfile.TarInfo(name)
    info.mode, info.size = mode, len(data)
    tar.addfile(info, io.BytesIO(data))


def _layer(busybox: Path) -> bytes:
    """A root file system as an uncompressed tar."""
    applets = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, mode in [*((name, 0o755) for name in _DIRECTORIES), ("tmp", 0o1777)]:
            info = tarfile.TarInfo(name)
            info.type, info.mode = tarfile.DIRTYPE, mode
            tar.addfile(info)
        _add(tar, "bin/busybox", busybox.read_bytes())
        for applet in set(applets) - {"busybox"}:
            info = tarfile.TarInfo(f"bin/{applet}")
            info.type, info.mode, info.linkname = tarfile.SYMTYPE, 0o777, "busybox"
            tar.addfile(info)
        _add(tar, "etc/passwd", _USERS, 0o644)
        _add(tar, "etc/group", _GROUPS, 0o644)
    return buffer.getvalue()


def _archive(layer: bytes) -> bytes:
    """An OCI image layout (image-layout.md) as a tar, with the two images."""
    blobs: dict[str, bytes] = {}

    def blob(data: bytes, media: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": f"application/vnd.oci.image.{media}", "digest": f"sha256:{digest}", "size": len(data)}

    machine = os.uname().machine
    packed = blob(gzip.compress(layer, 1, mtime=0), "layer.v1.tar+gzip")
    manifests = []
    for name, command in _COMMANDS.items():
        config = {
            "architecture": _MACHINES.get(machine, machine),
            "os": "linux",
            "config": {"Entrypoint": command, "Env": ["PATH=/bin:/sbin:/usr/bin", "FROM_IMAGE=yes"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": blob(json.dumps(config).encode(), "config.v1+json"),
            "layers": [packed],
        }
        names = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
        manifests.append({**blob(json.dumps(manifest).encode(), "manifest.v1+json"), "annotations": names})
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        _add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}', 0o644)
        _add(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": manifests}).encode(), 0o644)
        for digest, data in blobs.items():
            _add(tar, f"blobs/sha256/{digest}", data, 0o644)
    return buffer.getvalue()


def archive() -> Path:
    """The image archive in the cache, made if this busybox has none yet. Raises LabError when there is no busybox."""
    busybox = Path(which("busybox")).resolve()
    stat = busybox.stat()
    path = cache() / "images" / f"busybox-{_FORMAT}-{stat.st_size}-{stat.st_mtime_ns}.tar"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # two runs at once must not see each other's half
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(_archive(_layer(busybox)))
        Path(file.name).rename(path)
    return path
