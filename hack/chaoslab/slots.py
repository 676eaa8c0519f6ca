"""The agents of a run: one in each slot, as the harness starts, breaks and replaces them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lab.agent import CHECKOUT, Agent

if TYPE_CHECKING:
    from lab.node import Node

_HERE: Final = Path(__file__).resolve().parent
NAME: Final = "nri-cdi"


class VariantAgent(Agent):
    """`nri-cdi nri` run by `variant.py`; in all else an `Agent`."""

    def __init__(self, node: Node, variant: str, log: str, *flags: str) -> None:
        self.command = "nri"
        self.log_path = log
        self._log = node.sandbox.path(log)
        self.program = node.sandbox.popen(
            [sys.executable, str(_HERE / "variant.py"), variant, "nri", *flags], log, environment()
        )


def environment() -> dict[str, str]:
    """The environment of the harness' programs on the node: they import this checkout."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("NRI_")}
    return inherited | {"PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1"}


class Slot:
    """One slot of the NRI half. `variant` is what runs in it when nothing else is said ("" is the real one)."""

    def __init__(self, node: Node, index: str, prefix: str, variant: str = "") -> None:
        self._node, self.index, self._variant = node, index, variant
        self._flags = ("--plugin-index", index, "--annotation-prefix", prefix)
        self._serial = 0
        self.agent = self.fresh()

    def fresh(self, variant: str = "") -> Agent:
        """A new process for the slot; the caller puts it into `agent` and ends the old one."""
        self._serial += 1
        if variant := variant or self._variant:
            log = f"/var/log/nri-cdi-{self.index}-{self._serial}-{variant}.log"
            return VariantAgent(self._node, variant, log, *self._flags)
        return Agent(self._node.sandbox, "nri", *self._flags)

    def wait_ready(self, timeout: float = 20) -> None:
        """Wait until the agent is synchronised for the first time."""
        self.agent.wait_ready(timeout)
