"""Every way in which a container with devices is refused on a real kubelet, brought about on purpose, and what a user then sees.

A *layer* is a place that says no (`LAYERS`); a *case* is a kind of container under a restart policy (`CASES`). For each layer one pod of each case
is admitted and held by its first init container; then the layer's cause is brought about and the pods are let go, are refused, and
are looked at as a user would; then the cause is taken away, and it is measured which of them run after how long.
"""

from __future__ import annotations

import re
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from lab import mock
from lab.equipped import HALVES, SPEC
from lab.kube_pods import container, pod
from lab.trouble import LabError, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lab.api_server import Object
    from lab.cluster import Cluster
    from lab.equipped import Equipped
    from lab.kube_pods import Event, PodStatus
    from lab.sandbox import Program

_HERE: Final = Path(__file__).parent
_GATES: Final = "/run/gates"
_ADMITTED: Final = 40.0
_REFUSED: Final = 40.0
_PATIENCE: Final = 75.0
"""Seconds in which a pod that is tried again must run: the kubelet's third crash back-off, and some more."""

_POLL: Final = 0.1
_QUIET: Final = frozenset({"Pulled", "Scheduled", "Created", "Started", "BackOff", "Killing"})


@dataclass(frozen=True, slots=True, order=True)
class Case:
    """A kind of container under a restart policy. `restarted` is an app container that ran before."""

    kind: str
    restart: str

    @property
    def pod(self) -> str:
        """The name of its pod."""
        return f"{self.kind}-{self.restart.lower()}"


CASES: Final = (
    *(Case(kind, restart) for kind in ("app", "init", "sidecar") for restart in ("Always", "OnFailure", "Never")),
    Case("restarted", "Always"),
    Case("restarted", "OnFailure"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """What a user sees of one refused container, and what becomes of it. Texts have `<...>` for what is different each time."""

    runtime: str
    layer: str
    kind: str
    restart: str
    status: str
    """STATUS in `kubectl get pod`."""
    phase: str
    state: str
    """waiting or terminated, of the container."""
    reason: str
    """The reason in that state. Between the tries of a container in its crash back-off CrashLoopBackOff stands there, and in `status`."""
    event: str
    """The reason of the event."""
    message: str
    """The event's text in `kubectl describe pod`."""
    recovers: bool
    """Whether it runs by itself once the cause is gone."""
    seconds: float | None
    """After how many seconds."""

    def key(self) -> tuple[str, str, str, str]:
        """What tells one row from another."""
        return self.runtime, self.layer, self.kind, self.restart

    def shown(self) -> dict[str, Any]:
        """All but the measured time: the same in each run."""
        return {name: value for name, value in asdict(self).items() if name != "seconds"}


class Stage:
    """The cluster on which it is played, with the stand-ins of some layers."""

    def __init__(self, equipped: Equipped) -> None:
        self.equipped = equipped
        self.cluster: Cluster = equipped.cluster
        self._stand_ins: dict[str, Program] = {}

    def stand_in(self, name: str, *arguments: str) -> None:
        """Start a program of this directory in the sandbox and wait until it is at work."""
        log = f"/var/log/{name}.log"
        self.cluster.path(log).write_text("")
        argv = [sys.executable, str(_HERE / f"{name}.py"), *arguments]
        program = self.cluster.sandbox.popen(argv, log)
        self._stand_ins[name] = program

        def works() -> bool:
            said = self.cluster.path(log).read_text()
            if program.poll() is not None:
                raise LabError(f"{name} ended with {program.poll()}: {said}")
            return "at work" in said

        wait_until(works, 20, name)

    def dismiss(self, *names: str) -> None:
        """End these stand-ins, or all."""
        for name in names or tuple(self._stand_ins):
            if name in self._stand_ins:
                self._stand_ins.pop(name).kill()


_SOCKET: Final = "/var/run/nri/nri.sock"
_OTHER_RUN_DIR: Final = "/run/nri-cdi-willing"

Act: TypeAlias = "Callable[[Stage], None]"


@dataclass(frozen=True, slots=True)
class Layer:
    """A place that says no: what goes wrong, how it is brought about, how it is mended."""

    name: str
    what: str
    cause: Act
    mend: Act
    blind: bool = False
    """Whether PreStartContainer is told that all is well, so that a later layer has to say no."""


def _kill_nri(stage: Stage) -> None:
    stage.equipped.kill("nri")


def _start_nri(stage: Stage) -> None:
    stage.equipped.begin("nri")


def _kill_all(stage: Stage) -> None:
    stage.equipped.kill()


def _start_all(stage: Stage) -> None:
    stage.equipped.begin(*HALVES)


def _remove_spec(stage: Stage) -> None:
    stage.cluster.path(SPEC).unlink()


def _remove_nodes(stage: Stage) -> None:
    """A spec that leaves the numbers of its nodes to the host, where the nodes are not."""
    bare = re.sub(r"\n *(type|major|minor): .*", "", mock.spec(stage.equipped.count))
    stage.cluster.path(SPEC).write_text(bare)
    for number in range(stage.equipped.count):
        stage.cluster.path(f"/dev/mock/device_{number}").unlink()


def _remove_libraries(stage: Stage) -> None:
    for number in range(stage.equipped.count):
        stage.cluster.path(f"/mock/lib/device_{number}.so").unlink()


def _ask_for_rdt(stage: Stage) -> None:
    spec = mock.spec(stage.equipped.count).replace('cdiVersion: "0.5.0"', 'cdiVersion: "0.7.0"')
    stage.cluster.path(SPEC).write_text(
        spec.replace("containerEdits:\n", "containerEdits:\n  intelRdt: {closID: lab}\n", 1)
    )


def _furnish(stage: Stage) -> None:
    stage.equipped.furnish()


def _sabotage(stage: Stage) -> None:
    stage.stand_in("saboteur", _SOCKET)


def _make_peace(stage: Stage) -> None:
    stage.dismiss("saboteur")


LAYERS: Final = {
    layer.name: layer
    for layer in (
        Layer(
            "prestart-nri-half-down",
            "the NRI half is not running when the container is to start",
            _kill_nri,
            _start_nri,
        ),
        Layer(
            "prestart-plugin-down",
            "nothing of nri-cdi is running when the container is to start",
            _kill_all,
            _start_all,
        ),
        Layer("prestart-name-unresolved", "the CDI spec of the devices is gone", _remove_spec, _furnish),
        Layer(
            "prestart-node-missing",
            "the device nodes, whose numbers are not in the CDI spec, are gone from the host",
            _remove_nodes,
            _furnish,
        ),
        Layer(
            "create-inexpressible",
            "the CDI spec asks for something that this containerd's NRI cannot do",
            _ask_for_rdt,
            _furnish,
            blind=True,
        ),
        Layer(
            "create-mount-missing",
            "a library of the devices is gone from the host",
            _remove_libraries,
            _furnish,
            blind=True,
        ),
        Layer("start-gate", "another NRI plugin takes away a variable of the devices", _sabotage, _make_peace),
        Layer("guard", "the NRI half dies after PreStartContainer has asked it", _kill_nri, _start_nri, blind=True),
    )
}
"""By name, in the order in which a container meets them."""


def manifest(case: Case) -> Object:
    """The pod of a case: held by its first init container, then one container `c` with a device."""
    hold = container("hold", ["sh", "-c", f"until [ -e /gates/{case.pod} ]; do sleep 0.1; done"])
    hold["volumeMounts"] = [{"name": "gates", "mountPath": "/gates"}]
    volumes = [{"name": "gates", "hostPath": {"path": _GATES}}]
    devices = {mock.KIND: 1}
    if case.kind == "app":
        return pod(case.pod, container(devices=devices), init=[hold], restart=case.restart, volumes=volumes)
    if case.kind == "restarted":
        return pod(case.pod, container(devices=devices), restart=case.restart)
    second = container(command=["true"], devices=devices)
    if case.kind == "sidecar":
        second = {**container(devices=devices), "restartPolicy": "Always"}
    return pod(case.pod, container("main"), init=[hold, second], restart=case.restart, volumes=volumes)


def play(stage: Stage, layer: Layer, cases: Iterable[Case], *, nudged: bool = False) -> list[Row]:
    """Bring one layer about for these cases. Everything is whole again afterwards.

    With `nudged` the kubelet is made to try again early, and the seconds say nothing.
    """
    cases = tuple(cases)
    try:
        _admit(stage, layer, cases)
        layer.cause(stage)
        since = _release(stage, cases)
        refused = {case: _wait_refused(stage.cluster, case, since[case]) for case in cases}
        looked = {case: _look(stage.cluster, case, refused[case], nudged=nudged) for case in cases}
        layer.mend(stage)
        seconds = _recoveries(stage.cluster, cases, nudged=nudged)
        return [
            Row(stage.cluster.series, layer.name, case.kind, case.restart, *looked[case], *seconds[case])
            for case in cases
        ]
    finally:
        stage.dismiss()
        stage.equipped.kill()
        stage.cluster.delete_all()
        stage.equipped.tidy()


def _admit(stage: Stage, layer: Layer, cases: tuple[Case, ...]) -> None:
    """Start nri-cdi and the pods; returns when all have their devices and are held, or run."""
    gates = stage.cluster.path(_GATES)
    gates.mkdir(exist_ok=True)
    for gate in gates.iterdir():
        gate.unlink()
    stage.equipped.tidy()
    if layer.blind:
        stage.equipped.stop("device-plugin")
        stage.stand_in("willing", _OTHER_RUN_DIR, _SOCKET)
        stage.equipped.agents["device-plugin"] = stage.equipped.launch("device-plugin", "--run-dir", _OTHER_RUN_DIR)
        stage.equipped.start("device-plugin")
    stage.cluster.create(*map(manifest, cases))
    for case in cases:
        name = "c" if case.kind == "restarted" else "hold"

        def held(status: PodStatus, name: str = name) -> bool:
            return name in status.containers and status.containers[name].state == "running"

        stage.cluster.wait(case.pod, held, "to be held", _ADMITTED)


def _release(stage: Stage, cases: tuple[Case, ...]) -> dict[Case, int]:
    """Let the pods go on to their container with the device. Returns how many events each has had so far."""
    since = {case: len(stage.cluster.events(case.pod)) for case in cases}
    for case in cases:
        if case.kind == "restarted":
            stage.cluster.end(case.pod)
        else:
            (stage.cluster.path(_GATES) / case.pod).touch()
    return since


def _wait_refused(cluster: Cluster, case: Case, since: int) -> Event:
    """The event of the refusal. Raises LabError when the container runs instead."""

    def refusal() -> list[Event]:
        found = [
            event
            for event in cluster.events(case.pod)[since:]
            if event.type == "Warning" and event.reason not in _QUIET
        ]
        if not found and case.kind != "restarted" and cluster.status(case.pod).running:
            raise LabError(f"{case.pod} runs, though it was to be refused")
        return found

    wait_until(refusal, _REFUSED, f"the refusal of {case.pod}", _POLL)
    return refusal()[0]


_TRIED_AGAIN: Final = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_FINAL: Final = frozenset({"CreateContainerConfigError", "CreateContainerError", "StartError"})
"""The reasons of refusals, under a restart policy that tries a failed start again and under one that does not. Other reasons stand in a
container's state before, between and after the tries; and one that has failed for good has RunContainerError for a moment."""


def _look(cluster: Cluster, case: Case, event: Event, *, nudged: bool) -> tuple[str, str, str, str, str, str]:
    """What a user sees: status, phase, state, reason, and the reason and text of the event, which `kubectl describe` must show."""

    def told(status: PodStatus) -> bool:
        one = status.containers.get("c")
        if one is None or one.reason not in (_FINAL if case.restart == "Never" else _TRIED_AGAIN):
            if nudged:
                cluster.nudge(case.pod)
            return False
        return one.reason != "StartError" or case.kind == "sidecar" or status.phase == "Failed"

    text = " ".join(event.message.split())
    if text not in " ".join(cluster.describe(case.pod).split()):
        raise LabError(f"kubectl describe pod {case.pod} does not show the event {event.message!r}")
    end = time.monotonic() + _REFUSED
    while True:
        status = cluster.wait(case.pod, told, "to say why", _REFUSED)
        shown = cluster.shown(case.pod)[1]
        # the status changes with each try: both must be of the same moment
        if cluster.status(case.pod) == status or time.monotonic() > end:
            one = status.containers["c"]
            return shown, status.phase, one.state, one.reason, event.reason, plain(event.message)


def _recoveries(cluster: Cluster, cases: tuple[Case, ...], *, nudged: bool) -> dict[Case, tuple[bool, float | None]]:
    """Whether each pod runs by itself from now on, and after how many seconds."""
    started = time.monotonic()
    open_, result = set(cases), {}
    while open_ and time.monotonic() - started < _PATIENCE:
        if nudged:
            cluster.nudge(*(case.pod for case in open_))
        for case in sorted(open_):
            status = cluster.status(case.pod)
            if status.running or status.phase == "Failed":
                passed = round(time.monotonic() - started, 1)
                result[case] = (True, passed) if status.running else (False, None)
                open_.discard(case)
        time.sleep(_POLL)
    return {**result, **dict.fromkeys(open_, (False, None))}


_VARYING: Final = (
    (re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])"), "<container>"),
    (re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])"), "<allocation>"),
    (re.compile(r"device_\d+"), "device_<n>"),
    (re.compile(r"&\{.*?\} <nil>\}|&\{.*?<nil>\}"), "<endpoint>"),
    (re.compile(r"\bprocess \d+"), "process <n>"),
    (re.compile(r"\bcontainerd \S+ \(NRI \S+\)"), "containerd <version> (NRI <version>)"),
)


def plain(message: str) -> str:
    """An event's text with `<...>` in place of ids and numbers that are different each time or on each node, in one line."""
    for pattern, word in _VARYING:
        message = pattern.sub(word, message)
    return " ".join(message.split())
