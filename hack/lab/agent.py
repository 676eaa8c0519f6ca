"""nri-cdi itself, as a process of its own in a node's sandbox, from this checkout."""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from lab.trouble import LabError, wait_until

if TYPE_CHECKING:
    import signal
    from collections.abc import Sequence
    from types import TracebackType

    from lab.sandbox import Sandbox

CHECKOUT: Final = Path(__file__).resolve().parent.parent.parent
READY: Final = "synchronized"
"""What the log says when the NRI half has been given all containers and is asked from then on."""

_TAIL = 3000
_serial = itertools.count(1)


class Agent:
    """`nri-cdi COMMAND FLAGS...` (`run`, `nri`, `device-plugin`), started at once; it finds everything at the sandbox's standard paths.

    Its log is in the sandbox, at `log_path`. Ends with `stop`, `kill`, its `with` block, or with the sandbox. `program` is what Python runs with the
    command line.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        command: str,
        *flags: str,
        env: dict[str, str] | None = None,
        program: Sequence[str] = ("-m", "nri_cdi"),
    ) -> None:
        self.command = command
        self.log_path = f"/var/log/nri-cdi-{command}-{next(_serial)}.log"
        self._log = sandbox.path(self.log_path)
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("NRI_")}
        self.program = sandbox.popen(
            [sys.executable, *program, command, *flags],
            self.log_path,
            {**inherited, "PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1", **(env or {})},
        )

    def __repr__(self) -> str:
        return f"<Agent {self.command}, {self.program}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Its process id outside the sandbox."""
        return self.program.pid

    def log(self) -> str:
        """Everything it has logged."""
        return self._log.read_text(errors="replace")

    def wait_log(self, text: str, timeout: float = 10) -> None:
        """Wait until its log has `text`. Raises LabError with the end of its log when it ends or `timeout` seconds pass before."""

        def there() -> bool:
            # the order matters: what it logged before it ended is in the log
            ended = self.program.poll()
            if text in self.log():
                return True
            if ended is not None:
                raise LabError(f"nri-cdi {self.command} ended with {ended}, without {text!r} in its log")
            return False

        try:
            wait_until(there, timeout, f"{text!r} in the log of nri-cdi {self.command}")
        except LabError as error:
            raise LabError(f"{error}; its log ends:\n{self.log()[-_TAIL:]}") from None

    def wait_ready(self, timeout: float = 10) -> Self:
        """Wait until its NRI half is synchronised with the runtime; returns itself."""
        self.wait_log(READY, timeout)
        return self

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal (SIGSTOP freezes it, SIGCONT thaws it)."""
        self.program.signal(number)

    def stop(self) -> int:
        """SIGTERM, as a pod's end sends it. Returns the exit status."""
        return self.program.stop()

    def kill(self) -> int:
        """SIGKILL. Returns -9."""
        return self.program.kill()

    def rss(self) -> int:
        """Resident memory in bytes."""
        return self.program.rss()
