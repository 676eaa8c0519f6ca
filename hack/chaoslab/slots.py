"""The agents of a run: one in each slot, as the harness starts, breaks and replaces them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lab.agent import CHECKOUT, Agent

if TYPE_CHECKING:
    from lab.node import Node

_HERE: Final = Path(__file__).resolve().parent


def variant_agent(node: Node, variant: str, *flags: str) -> Agent:
    """`nri-cdi nri` run by `variant.py`."""
    return Agent(node.sandbox, "nri", *flags, program=(str(_HERE / "variant.py"), variant))


def environment() -> dict[str, str]:
    """The environment of the harness' programs on the node: they import this checkout."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("NRI_")}
    return inherited | {"PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1"}


class Slot:
    """One slot of the NRI half. It runs this checkout, and what is installed at `other` after each second `upgraded`.

    `variant` is what runs in it when nothing else is said ("" is the real one); variants are of this checkout.
    """

    def __init__(self, node: Node, index: str, prefix: str, other: str, variant: str = "") -> None:
        self._node, self.index, self._variant = node, index, variant
        self._flags = ("--plugin-index", index, "--annotation-prefix", prefix)
        self._home, self._next = str(CHECKOUT), other
        self.agent = self.fresh()

    def fresh(self, variant: str = "") -> Agent:
        """A new process for the slot, of the version that it has; the caller puts it into `agent` and ends the old one."""
        if variant := variant or self._variant:
            return variant_agent(self._node, variant, *self._flags)
        return Agent(self._node.sandbox, "nri", *self._flags, env={"PYTHONPATH": self._home})

    def upgraded(self) -> Agent:
        """A new process of the other version, which the slot has from now on; else as `fresh`."""
        self._home, self._next = self._next, self._home
        return self.fresh()

    @property
    def old(self) -> bool:
        """Whether the version that it has is not this checkout's."""
        return self._home != str(CHECKOUT)

    def wait_ready(self, timeout: float = 20) -> None:
        """Wait until the agent is synchronised for the first time."""
        self.agent.wait_ready(timeout)
