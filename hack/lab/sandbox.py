"""A private world on this machine: namespaces in which the standard paths are nobody else's.

    with Sandbox() as sandbox:
        sandbox.path("/etc/cdi/x.json").write_text(...)      # a file inside, by its path outside
        sandbox.run("ls", "/etc/cdi")
        agent = sandbox.popen([sys.executable, "-m", "nri_cdi", "run"], log="/var/log/agent.log")

Inside, /dev, /etc, /opt, /run, /var/lib, /var/log and /mock are private (see `lab.guardian`, which holds the
sandbox); everything else is the machine's own. Nothing is left when it ends, however its owner ends.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

from lab.trouble import LabError, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

_GUARDIAN = Path(__file__).with_name("guardian.py")
_START_TIMEOUT = 10.0


class Program:
    """A process inside the sandbox. `pid` is its number outside; signals reach it, not the words that brought it inside."""

    def __init__(self, argv: Sequence[str], process: subprocess.Popen[bytes]) -> None:
        self.argv = tuple(argv)
        self._process = process
        self.pid = self._child()

    def __repr__(self) -> str:
        state = "running" if self.poll() is None else f"ended with {self.poll()}"
        return f"<Program {self.argv[0]}, pid {self.pid}, {state}>"

    def _child(self) -> int:
        """Nsenter forks to get into the PID namespace, and waits for its child: that one is the program."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        found: list[int] = []

        def forked() -> bool:
            if self._process.poll() is not None:
                raise LabError(f"{self.argv[0]} ended with {self._process.returncode} before it ran")
            found.extend(int(word) for word in children.read_text().split())
            return bool(found)

        wait_until(forked, _START_TIMEOUT, f"the start of {self.argv[0]}")
        return found[0]

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    def wait(self, timeout: float = 10.0) -> int:
        """The exit status, as `poll` gives it. Raises LabError after `timeout` seconds."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise LabError(f"{self!r} did not end within {timeout:g} s") from None

    def _send(self, number: signal.Signals) -> None:
        """A stop of the program stops its nsenter too, which makes it go on when it goes on itself. So nsenter takes part, and each step is waited for:

        stopped, it would never take note of the program's end; and its SIGCONT, if it came late, would undo our next SIGSTOP.
        """
        if number is not signal.SIGCONT:
            os.kill(self.pid, number)
        if number is signal.SIGSTOP:
            wait_until(
                lambda: self._process.poll() is not None or self._stopped(self._process.pid),
                _START_TIMEOUT,
                f"{self!r} to be frozen",
                0.001,
            )
        elif number in {signal.SIGCONT, signal.SIGKILL}:
            os.kill(self._process.pid, signal.SIGCONT)
        if number is signal.SIGCONT:
            wait_until(lambda: not self._stopped(self.pid), _START_TIMEOUT, f"{self!r} to go on", 0.001)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program; nothing happens if it has ended."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self._send(number)

    def _stopped(self, pid: int) -> bool:
        """Whether the process `pid`, the program or nsenter, stands still; no if there is none any more."""
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        except (FileNotFoundError, ProcessLookupError):
            return False

    def stop(self, timeout: float = 10.0) -> int:
        """SIGTERM, and SIGKILL after `timeout` seconds. Returns the exit status."""
        self.signal(signal.SIGTERM)
        try:
            return self.wait(timeout)
        except LabError:
            return self.kill()

    def kill(self) -> int:
        """SIGKILL. Returns the exit status, -9."""
        self.signal(signal.SIGKILL)
        return self.wait()

    def rss(self) -> int:
        """Resident memory in bytes. Raises LabError when the program has ended."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            raise LabError(f"{self!r} has no memory to measure") from None
        return pages * os.sysconf("SC_PAGE_SIZE")


class Sandbox:
    """A mount and PID namespace, and a name for cgroups; with `network` a network namespace too, in which not even lo is up.

    Needs root. Ends with `stop`, with its `with` block, or with this process.
    """

    def __init__(self, *, network: bool = False) -> None:
        if os.geteuid() != 0:
            raise LabError("a sandbox needs root: it makes namespaces, mounts and cgroups")
        self.name = f"nri-cdi-{secrets.token_hex(4)}"
        self._namespaces = ("--mount", "--pid", *(("--net",) if network else ()))
        self._programs: list[Program] = []
        self._guardian = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_GUARDIAN), self.name, *(("network",) if network else ())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
        assert self._guardian.stdout is not None
        with self._guardian.stdout as out:
            word, _, rest = out.readline().decode().strip().partition(" ")
        if word != "ready":
            self.stop()
            raise LabError(f"the sandbox could not be made: {rest or 'its guardian died'}")
        self.pid = int(rest)

    def __repr__(self) -> str:
        return f"<Sandbox {self.name}, init {self.pid}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End everything inside; returns when no process, mount or cgroup of it is left. May be called again.

        Raises LabError when something is left.
        """
        assert self._guardian.stdin is not None
        self._guardian.stdin.close()
        failed = self._guardian.wait() != 0
        while self._programs:
            self._programs.pop().wait()
        if failed:
            raise LabError(f"the sandbox {self.name} left cgroups behind: look for them under /sys/fs/cgroup")

    @property
    def cgroup(self) -> str:
        """The cgroup, from the root of the hierarchy, below which pods of this sandbox belong."""
        return f"/{self.name}"

    @property
    def enter(self) -> list[str]:
        """The words before a command line that make it run inside; the working directory is then `/`."""
        return ["nsenter", f"--target={self.pid}", *self._namespaces, "--"]

    def path(self, inside: str | Path) -> Path:
        """The path outside of an absolute path inside. Sockets can be connected to by it. Symlinks on the way are not translated."""
        return Path(f"/proc/{self.pid}/root", Path(inside).relative_to("/"))

    def run(self, *argv: str, timeout: float = 30.0) -> str:
        """Standard output of a command that must succeed inside. Raises LabError with what it printed."""
        try:
            done = subprocess.run([*self.enter, *argv], check=False, capture_output=True, text=True, timeout=timeout)
        except subprocess.TimeoutExpired:
            raise LabError(f"{' '.join(argv)}: did not end within {timeout:g} s") from None
        if done.returncode != 0:
            raise LabError(f"{' '.join(argv)} ended with {done.returncode}: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def popen(self, argv: Sequence[str], log: str, env: Mapping[str, str] | None = None) -> Program:
        """Start a program inside, its output appended to the file `log` (a path inside). `env` is its whole
        environment, with a PATH; default ours.
        """
        with self.path(log).open("ab") as out:
            process = subprocess.Popen(
                [*self.enter, *argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
            )
        program = Program(argv, process)
        self._programs.append(program)
        return program


def which(name: str) -> str:
    """The path of a program of the machine, /usr/sbin and /sbin included. Raises LabError when there is none."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None:
        raise LabError(f"no {name} on this machine")
    return found
