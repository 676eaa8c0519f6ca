"""The threads that make containers come and go, and look at each one that runs."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from lab import cri_api as api
from lab.cri import CriError
from lab.oci import comparable
from lab.pods import Container

from chaoslab import judge, world
from chaoslab.ledger import KEYLESS_CHANGED, NOT_LOOKED_AT, NOT_RECOVERED, WITHOUT_DEVICES, Call, dice

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lab.node import Node
    from lab.pods import Pod

    from chaoslab.ledger import Ledger
    from chaoslab.world import Order, Wanted

_PATIENCE: Final = 30.0  # seconds in which a running container must be looked at
_TRIES: Final = 3  # as the kubelet: with the same answer of Allocate
_BACK_OFF: Final = (0.1, 0.8)  # seconds between two tries
_RECOVERY: Final = 5.0  # seconds in which all must be in order again
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Scene:
    """What all threads of a load share."""

    node: Node
    ledger: Ledger
    baselines: Mapping[str, dict[str, Any]]
    """The OCI specs of keyless containers, made on this node without any plugin, by shape."""
    prefix: str
    guard: bool


def baselines(node: Node) -> dict[str, dict[str, Any]]:
    """Make the `Scene.baselines`; no plugin may be there yet."""
    pod = node.pod("baseline")
    specs = {
        order.kind: comparable(pod.container(order.kind, extra=order.config)) for order in (world.plain(), world.rich())
    }
    pod.remove()
    return specs


class Load(threading.Thread):
    """Runs pods with containers of all kinds, one after the other, until `stopping` is set. `error` is a bug of the harness, else None."""

    def __init__(self, scene: Scene, seed: int, number: int, stopping: threading.Event) -> None:
        super().__init__(name=f"load-{number}")
        self._scene, self._stopping, self._rng = scene, stopping, dice(seed, self.name)
        self._pods = self._containers = 0
        self.error: Exception | None = None

    def run(self) -> None:
        """One pod after the other."""
        try:
            while not self._stopping.is_set():
                self._pod()
        except Exception as error:  # noqa: BLE001 - whatever it is: the run is not valid then, and says so
            self.error = error

    def _pod(self) -> None:
        self._pods += 1
        begun = time.monotonic()
        try:
            pod = self._scene.node.pod(f"{self.name}-{self._pods}")
        except CriError as error:
            failed(self._scene.ledger, "pod", begun, error)
            time.sleep(0.05)
            return
        for _ in range(self._rng.randint(3, 9)):
            order = world.draw(self._rng, self._scene.prefix, guard=self._scene.guard)
            for _ in range(_TRIES):
                self._containers += 1
                ran = attempt(self._scene, pod, order, f"{order.kind}-{self._containers}")
                if ran or self._stopping.wait(self._rng.uniform(*_BACK_OFF)):
                    break
        patiently(pod.remove, 5)


def attempt(scene: Scene, pod: Pod, order: Order, name: str) -> bool:
    """Create, start, look at, stop and remove one container. Returns whether it ran; what was wrong is in the ledger."""
    begun = time.monotonic()
    container = None
    ran = False
    try:
        container = _called(scene, pod, order, name, "create", lambda: pod.container(name, extra=order.config))
        made = container
        _called(scene, pod, order, name, "start", made.start)
        ran = True
    except CriError as error:
        # its answer may be lost, and the container run
        if scene.ledger.runtime_was_away(begun) and (lost := patiently(lambda: _found(pod, name), _PATIENCE)):
            scene.ledger.outcomes["runs although its answer was lost"] += 1
            container, ran = lost, True
        elif order.wanted is None:
            failed(scene.ledger, f"{pod.name}/{name}", begun, error)
        else:
            scene.ledger.outcomes[f"with a key: refused at {'create' if container is None else 'start'}"] += 1
    if ran and container is not None:
        look(scene, container, order)
    if container is not None:
        patiently(container.remove, 2)
    return ran


def _called(scene: Scene, pod: Pod, order: Order, name: str, method: str, call: Callable[[], _T]) -> _T:
    sent = time.monotonic()
    try:
        return call()
    finally:
        scene.ledger.calls.append(Call(method, pod.name, name, order.wanted is not None, sent, time.monotonic()))


def failed(ledger: Ledger, subject: str, begun: float, error: CriError) -> None:
    """Something without a CDI key was refused: a violation, unless the runtime was away meanwhile, which explains it."""
    if ledger.runtime_was_away(begun):
        ledger.outcomes["without a key: the runtime was away"] += 1
    else:
        ledger.finding(KEYLESS_CHANGED, subject, str(error))


def look(scene: Scene, container: Container, order: Order) -> None:
    """Look at a running container from the OCI spec, from inside and from outside; put it into the ledger."""
    subject = f"{container.pod.name}/{container.name} ({order.kind})"
    seen = patiently(lambda: _seen(scene, container), _PATIENCE)
    if seen is None:
        if patiently(container.running, 5):
            scene.ledger.finding(NOT_LOOKED_AT, subject, f"not within {_PATIENCE:g} s")
        return
    wanted = order.wanted
    problems = seen.problems(scene, order.shape, wanted)
    if not problems:
        scene.ledger.outcomes[
            "without a key: ran unchanged" if wanted is None else "with a key: ran with exactly its devices"
        ] += 1
    elif wanted is None:
        scene.ledger.finding(KEYLESS_CHANGED, subject, "; ".join(problems))
    elif order.may_lack and not seen.problems(scene, order.shape, None):
        scene.ledger.outcomes["foreign key only: ran without its devices"] += 1
    else:
        scene.ledger.finding(WITHOUT_DEVICES, subject, "; ".join(problems))


@dataclass(frozen=True, slots=True)
class _Seen:
    """One container as it runs, from three sides."""

    spec: dict[str, Any]
    inside: str
    outside: judge.Outside

    def problems(self, scene: Scene, shape: str, wanted: Wanted | None) -> list[str]:
        """What is not as wanted."""
        return [
            *judge.wrong_spec(self.spec, scene.baselines[shape], wanted),
            *judge.wrong_inside(self.inside, wanted),
            *judge.wrong_outside(self.outside, wanted),
        ]


def _seen(scene: Scene, container: Container) -> _Seen:
    status = scene.node.cri.container_status(container.id, verbose=True)
    pid = int(json.loads(status.info["info"])["pid"])
    return _Seen(comparable(container), container.sh(judge.SCRIPT)[1], judge.outside(scene.node.path("/"), pid))


def _found(pod: Pod, name: str) -> Container | None:
    """The container `name` of a pod, if it is there and runs."""
    for one in pod.node.cri.containers(pod.id):
        if one.metadata.name == name and one.state == api.CONTAINER_RUNNING:
            return Container(pod, name, one.id)
    return None


def recovers(scene: Scene, orders: list[Order]) -> None:
    """Nothing is broken any more: all `orders` must run within `_RECOVERY`, tried again as the kubelet does, each with exactly its devices."""
    try:
        pod = scene.node.pod("afterwards")
        for order in orders:
            before = len(scene.ledger.findings)
            look(scene, _started(pod, order), order)
            if len(scene.ledger.findings) > before:
                scene.ledger.finding(NOT_RECOVERED, order.kind, "see above")
    except CriError as error:
        scene.ledger.finding(NOT_RECOVERED, "the first containers after the faults", str(error))


def _started(pod: Pod, order: Order) -> Container:
    """A container that runs. One with a key may be refused at first: spec files that were broken are read again. Raises CriError after that."""
    end = time.monotonic() + (_RECOVERY if order.wanted is not None else 0)
    number = 0
    while True:
        number += 1
        try:
            return pod.container(f"{order.kind}-{number}", extra=order.config).start()
        except CriError:
            if time.monotonic() >= end:
                raise
            time.sleep(0.1)


def patiently(action: Callable[[], _T], seconds: float) -> _T | None:
    """What `action` gives, tried again for `seconds` while the runtime says no or is away; None after that."""
    end = time.monotonic() + seconds
    while True:
        try:
            return action()
        except (CriError, OSError):
            if time.monotonic() > end:
                return None
            time.sleep(0.1)
