"""Two slots: while one of them is killed again and again, frozen or replaced, creations go on, each with its devices.

Nothing else holds here: the start gate is off and no container has a guard.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from lab import installation, mock
from lab.agent import Agent
from lab.cri import CriError
from lab.installation import OTHER_VERSION

from nri_cdi import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.pods import Pod
    from lab.served import Served

KILLS = 6
INDEXES = ("10", "11")
REQUEST_TIMEOUT = 2.0


class Slots:
    """The two NRI halves of the node."""

    def __init__(self, served: Served) -> None:
        served.without_agent()
        self._served = served
        self.agents = {index: self.fresh(index) for index in INDEXES}
        for agent in self.agents.values():
            agent.wait_ready()

    def fresh(self, index: str, home: str | None = None) -> Agent:
        """A new process for a slot, of the installation at `home` or of this checkout."""
        flags = ("--plugin-index", index, "--start-gate", "off", *self._served.flags)
        env = None if home is None else {"PYTHONPATH": home}
        return Agent(self._served.node.sandbox, "nri", *flags, env=env)

    def stop(self) -> None:
        """End both."""
        for agent in self.agents.values():
            agent.kill()


@pytest.fixture
def slots(served: Served) -> Iterator[Slots]:
    slots = Slots(served)
    yield slots
    slots.stop()


@pytest.fixture(scope="module")
def other_home(serving_node: Served) -> str:
    """An installation of another version on the node."""
    return installation.another(serving_node.node.sandbox)


class Creations:
    """Containers of one mock device, created one after another."""

    def __init__(self, served: Served) -> None:
        self._served, self._pod = served, served.node.pod()
        self.wrong: list[list[str]] = []
        self.refused: list[str] = []
        self.count = 0

    @property
    def pod(self) -> Pod:
        """The pod of all of them."""
        return self._pod

    def one(self) -> float:
        """Create the next one and look at what it was given; the seconds that its creation took."""
        number = self.count % mock.COUNT
        self.count += 1
        started = time.monotonic()
        try:
            container = self._pod.container(f"c{self.count}", extra=self._served.devices(number, guard=False))
        except CriError as error:
            self.refused.append(error.details)
            return time.monotonic() - started
        seconds = time.monotonic() - started
        paths = [device["path"] for device in container.spec()["linux"].get("devices", ())]
        container.remove()
        if paths != [f"/dev/mock/device_{number}"]:
            self.wrong.append(paths)
        return seconds


def test_while_one_of_two_is_killed_every_second_all_creations_succeed_with_their_devices(
    served: Served, slots: Slots
) -> None:
    creations = Creations(served)
    done = threading.Event()

    def kill() -> None:
        try:
            for number in range(KILLS):
                index = INDEXES[number % 2]
                slots.agents[index].kill()
                slots.agents[index] = slots.fresh(index)
                done.wait(1)
                slots.agents[index].wait_ready(30)
        finally:
            done.set()

    killer = threading.Thread(target=kill)
    killer.start()
    while not done.is_set():
        creations.one()
    killer.join()
    assert creations.wrong == []
    assert len(creations.refused) <= KILLS, creations.refused
    assert creations.count > 2 * KILLS


@pytest.mark.parametrize("index", INDEXES)
def test_while_one_is_frozen_creations_wait_once_for_the_runtimes_timeout_and_go_on(
    served: Served, slots: Slots, index: str
) -> None:
    creations = Creations(served)
    slots.agents[index].signal(signal.SIGSTOP)
    times = [creations.one() for _ in range(4)]
    assert (creations.wrong, creations.refused) == ([], [])
    assert times[0] >= REQUEST_TIMEOUT - 0.1
    assert sorted(times[1:])[1] < REQUEST_TIMEOUT


def test_while_one_is_replaced_by_another_version_and_back_all_creations_succeed_with_their_devices(
    served: Served, slots: Slots, other_home: str
) -> None:
    creations = Creations(served)
    for home in (other_home, None):
        for index in INDEXES:
            creations.one()
            successor = slots.fresh(index, home)
            successor.wait_log("is held by process")
            creations.one()
            assert slots.agents[index].stop() == 0
            creations.one()
            slots.agents[index] = successor.wait_ready()
            creations.one()
    assert (creations.wrong, creations.refused) == ([], [])


def test_the_other_version_is_another_program(served: Served, other_home: str) -> None:
    env = ("env", f"PYTHONPATH={other_home}")
    said = served.node.sandbox.run(*env, sys.executable, "-m", "nri_cdi", "--version")
    assert said == f"nri-cdi {OTHER_VERSION}\n" != f"nri-cdi {__version__}\n"


def test_with_both_gone_a_container_is_created_without_its_devices(served: Served, slots: Slots) -> None:
    slots.stop()
    creations = Creations(served)
    creations.one()
    assert creations.wrong == [[]]
