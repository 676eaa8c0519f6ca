"""The process that holds a sandbox and cleans up after it: `guardian.py NAME [network]`, started by `lab.sandbox`.

It makes a PID and a mount namespace (and with `network` a network namespace, in which nothing is up, not even lo), says `ready PID` (the sandbox's init, as seen from outside) on standard output
and then waits for the end of its standard input, which only the owner holds. That end comes however the owner ends,
SIGKILL included. Then the guardian kills the init, which ends everything in the PID namespace, shims and containers
too; the mounts go with the mount namespace; and what namespaces do not take along, the cgroups named NAME, is
removed here. If the guardian itself is killed, the kernel kills the init.

It runs in a session of its own, so that a signal to the owner's process group or terminal does not reach it.
Standard library only: it must start fast, and must not depend on what the owner has installed or broken.

The sandbox's file system is a tmpfs with the machine's top-level directories bound into it, so programs and
checkouts are as they are outside. Private are /dev, /etc, /opt, /var/lib and /var/log (overlays: what is there shows
through, what is written stays inside), /run, /mock, /var/lib/containerd (empty) and /proc (of the PID namespace);
/etc/cdi and /var/lib/kubelet start empty whatever the machine has there.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, NoReturn

# <sched.h>, <sys/mount.h>, <sys/prctl.h>
_CLONE_NEWNS: Final = 0x00020000
_CLONE_NEWPID: Final = 0x20000000
_CLONE_NEWNET: Final = 0x40000000
_MS_BIND: Final = 0x1000
_MS_REC: Final = 0x4000
_MS_UNBINDABLE: Final = 0x20000
_MS_PRIVATE: Final = 0x40000
_MS_SHARED: Final = 0x100000
_MNT_DETACH: Final = 2
_PR_SET_PDEATHSIG: Final = 1

_OVERLAID: Final = ("dev", "etc", "opt", "var/lib", "var/log")
_FRESH: Final = ("run", "mock")
_EMPTIED: Final = ("etc/cdi", "var/lib/kubelet", "var/log/pods")
_BELOW_DEV: Final = ("pts", "shm", "mqueue", "hugepages")

_CGROUPS: Final = Path("/sys/fs/cgroup")
_PATIENCE: Final = 5.0  # seconds in which the kernel must have emptied the cgroups of dead processes

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
_libc.pivot_root.argtypes = (ctypes.c_char_p, ctypes.c_char_p)


def _check(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def _mount(source: str | Path, target: str | Path, kind: str = "", flags: int = 0, data: str = "") -> None:
    result = _libc.mount(str(source).encode(), str(target).encode(), kind.encode(), flags, data.encode())
    _check(result, f"cannot mount {kind or source} on {target}")


def _overlay(root: Path, name: str) -> None:
    """The machine's /`name`, to be written to without a trace."""
    private = root / ".overlays" / name.replace("/", "-")
    for part in ("upper", "work"):
        (private / part).mkdir(parents=True)
    (root / name).mkdir(parents=True, exist_ok=True)
    shutil.copystat(f"/{name}", private / "upper")
    _mount("overlay", root / name, "overlay", 0, f"lowerdir=/{name},upperdir={private}/upper,workdir={private}/work")


def _build(root: Path) -> None:
    """Lay out the sandbox's file system in `root`. We are in the new mount namespace already."""
    _mount("none", "/", flags=_MS_REC | _MS_PRIVATE)
    _mount("tmpfs", root, "tmpfs", 0, "mode=755")
    # else the recursive bind of the directory that holds `root` would find `root` in it
    _mount("none", root, flags=_MS_UNBINDABLE)
    for entry in os.scandir("/"):
        own = root / entry.name
        if entry.is_symlink():
            own.symlink_to(Path(entry.path).readlink())
        elif entry.is_dir() and entry.name not in (*_OVERLAID, *_FRESH, "proc"):
            own.mkdir()
            _mount(entry.path, own, flags=_MS_BIND | _MS_REC)
    # an overlay clones the mount of its upper directory, so it may not be unbindable
    _mount("none", root, flags=_MS_PRIVATE)
    for name in _FRESH:
        (root / name).mkdir(exist_ok=True)
    for name in _OVERLAID:
        if Path("/", name).is_dir():
            _overlay(root, name)
    for name in _BELOW_DEV:
        if os.path.ismount(f"/dev/{name}"):
            _mount(f"/dev/{name}", root / "dev" / name, flags=_MS_BIND | _MS_REC)
    for name in _EMPTIED:
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).mkdir(parents=True)
    # the runtime's own overlays cannot lie on an overlay
    (root / "var/lib/containerd").mkdir(exist_ok=True)
    _mount("tmpfs", root / "var/lib/containerd", "tmpfs", 0, "mode=700")
    (root / "proc").mkdir()
    _mount("proc", root / "proc", "proc")


def _init(root: Path, ready: int, *, network: bool) -> NoReturn:
    """The sandbox's PID 1: builds the file system, says so on `ready`, then does nothing for ever."""
    try:
        _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL), "prctl")
        kinds = _CLONE_NEWNS | (_CLONE_NEWNET if network else 0)
        _check(_libc.unshare(kinds), "cannot make a mount namespace, or a network namespace")
        _build(root)
        os.chdir(root)
        # pivot_root(2): "." twice puts the old root on top of the new one, from where it is detached
        _check(_libc.pivot_root(b".", b"."), "cannot make the new root the root")
        _check(_libc.umount2(b".", _MNT_DETACH), "cannot detach the old root")
        os.chdir("/")
        # as on a node that systemd has started: mounts of a container may be rslave or rshared
        _mount("none", "/", flags=_MS_REC | _MS_PRIVATE)
        _mount("none", "/", flags=_MS_REC | _MS_SHARED)
        # orphans become children of PID 1; who ignores SIGCHLD has nothing to reap
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        sleep = shutil.which("sleep") or "/bin/sleep"
        os.write(ready, b"ready")
        os.execv(sleep, [sleep, "infinity"])  # noqa: S606 - no shell wanted
    except BaseException as error:  # noqa: BLE001 - the one place that can report it is the pipe
        os.write(ready, f"error {error}".encode())
    os._exit(1)


def _remove_cgroups(name: str) -> list[Path]:
    """Remove the cgroups called `name`, in every hierarchy (v1) or in the one (v2). Returns those that could not be removed."""
    left = []
    for group in (_CGROUPS / name, *_CGROUPS.glob(f"*/{name}")):
        for directory, _, _ in os.walk(group, topdown=False):
            try:
                Path(directory).rmdir()
            except OSError:
                left.append(Path(directory))
    return left


def _thaw(pid: int) -> None:
    """Let go on what entered the sandbox from outside and was stopped there: else it would not reap what it started inside."""
    entered = f"nsenter\0--target={pid}\0".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cmdline").read_bytes().startswith(entered):
                os.kill(int(process.name), signal.SIGCONT)
        except OSError:
            continue  # gone meanwhile


def main(name: str, *, network: bool) -> int:
    """Hold the sandbox `name`, if asked with a network of its own, until standard input ends. Exit status 0 when nothing of it is left."""
    # the owner's Ctrl-C is not ours: we end when the owner has ended
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    root = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    reader, writer = os.pipe()
    _check(_libc.unshare(_CLONE_NEWPID), "cannot make a PID namespace")
    pid = os.fork()
    if pid == 0:
        os.close(0)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        _init(root, writer, network=network)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read().decode()  # up to the exec, which closes the other end
    root.rmdir()
    print(f"ready {pid}" if answer == "ready" else answer or "error the sandbox's init died", flush=True)
    os.close(1)
    if answer == "ready":
        while os.read(0, 4096):
            pass
    os.kill(pid, signal.SIGKILL)
    while os.waitpid(pid, os.WNOHANG) == (0, 0):  # it is gone when every process of the PID namespace is
        _thaw(pid)
        time.sleep(0.02)
    end = time.monotonic() + _PATIENCE
    while _remove_cgroups(name):
        if time.monotonic() > end:
            return 1
        time.sleep(0.02)
    return 0


if __name__ == "__main__":
    try:
        status = main(sys.argv[1], network="network" in sys.argv[2:])
    except OSError as error:
        print(f"error {error}", flush=True)
        status = 1
    sys.exit(status)
