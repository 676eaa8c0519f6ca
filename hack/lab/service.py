"""nri-cdi as services of a node: a service manager starts what is ordered behind them when they have said that they are ready (sd_notify(3))."""

from __future__ import annotations

import itertools
import socket
from typing import TYPE_CHECKING, Final, Self

from lab.trouble import LabError, wait_until

if TYPE_CHECKING:
    from types import TracebackType

    from lab.agent import Agent
    from lab.sandbox import Sandbox

_TAIL: Final = 3000
_serial = itertools.count(1)


class Notifications:
    """What one service, whose $NOTIFY_SOCKET is `address`, tells its manager."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.address = f"/run/notify-{next(_serial)}"
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._sock.bind(str(sandbox.path(self.address)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sock.close()

    def wait_ready(self, agent: Agent, timeout: float = 30) -> None:
        """Wait until `agent` has said that it is ready. Raises LabError with the end of its log when it ends or `timeout` seconds pass before."""

        def said() -> bool:
            if (status := agent.program.poll()) is not None:
                raise LabError(f"nri-cdi {agent.command} ended with {status} before it was ready")
            try:
                return "READY=1" in self._sock.recv(4096).decode().splitlines()
            except BlockingIOError:
                return False

        try:
            wait_until(said, timeout, f"nri-cdi {agent.command} to say that it is ready", 0.001)
        except LabError as error:
            raise LabError(f"{error}; its log ends:\n{agent.log()[-_TAIL:]}") from None
