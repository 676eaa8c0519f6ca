"""The promise of nri-cdi, shown on a real Kubernetes node whose containerd has its own CDI off: `make demo-kubernetes`.

$RUNTIME names the series of containerd (default 2.1). Everything is real: API server, scheduler, kubelet, containerd, runc; only the devices have
no hardware. Exit status: 0 all is so, 1 something is not (what was expected and what was seen), 3 a part is missing (which, and how to
get it).
"""

from __future__ import annotations

import json
import os
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

CHECKOUT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))  # the demo runs from a checkout that nobody has installed

# below the line that makes them importable
from lab import mock  # noqa: E402
from lab.cluster import Cluster  # noqa: E402
from lab.config import native_cdi_always  # noqa: E402
from lab.equipped import HALVES, Equipped  # noqa: E402
from lab.kube_pods import asking  # noqa: E402
from lab.kubelet import CHECKPOINT  # noqa: E402
from lab.node import CONFIG  # noqa: E402
from lab.trouble import LabError  # noqa: E402

from nri_cdi.allocation import GUARD_SENTENCE  # noqa: E402

if TYPE_CHECKING:
    from lab.kube_pods import Event

WIDTH: Final = 118
WHO: Final = 12


class NotSo(Exception):  # the demo's one finding
    """Something is not as nri-cdi promises."""


def say(who: str, text: str) -> None:
    """One line, or a few, of the scene: who says it, and what."""
    lines = textwrap.wrap(text, WIDTH - WHO, break_on_hyphens=False, break_long_words=False)
    for number, line in enumerate(lines):
        print(f"{'' if number else who:<{WHO}}{line}", flush=True)


def title(text: str) -> None:
    """The head of a part."""
    print(f"\n{text}\n{'-' * len(text)}", flush=True)


class Scene:
    """The cluster, and what is shown and checked on it."""

    def __init__(self, equipped: Equipped) -> None:
        self.equipped = equipped
        self.cluster = equipped.cluster
        self.checks = 0

    def check(self, what: str, expected: object, seen: object) -> None:
        """Count that `what` is as it should be. Raises NotSo if it is not."""
        self.checks += 1
        if expected != seen:
            raise NotSo(f"{what}\n  expected: {expected}\n  seen:     {seen}")

    def kubectl(self, *arguments: str) -> None:
        """Run kubectl for the audience."""
        print(f"$ kubectl {' '.join(arguments)}")
        print(textwrap.indent(self.cluster.kubectl(*arguments).rstrip(), "  "), flush=True)

    def look_into(self, **pods: int) -> None:
        """Show what the containers of running pods see; it must be what the kubelet has allocated to them, and nothing else."""
        for name, count in pods.items():
            seen = self.equipped.look(name)
            self.check(f"how many devices {name} has", count, len(seen.allocated))
            self.check(f"what is in {name}", [], seen.problems)
            listed = self.cluster.exec(name, "ls", "/dev/mock").split()
            self.check(f"/dev/mock in {name}", seen.allocated, listed)
            say(f"in {name}", f"ls /dev/mock: {' '.join(listed)}")
            say("", f"libraries and variables of the same {count}; opening them is allowed; podresources says the same")

    def event(self, event: Event, name: str, text: str) -> None:
        """Show an event; its message must hold `text`."""
        say("event", f"{name}: {event.type}  {event.reason}  {event.source}: {event.message}")
        self.check(f"{text!r} in the event", [text], [part for part in (text,) if part in event.message])


def introduce(scene: Scene) -> None:
    """Show which versions run, and that the runtime's own CDI is off."""
    cluster = scene.cluster
    info = cluster.kubelet.node()["status"]["nodeInfo"]
    say(
        "kubelet",
        f"{info['kubeletVersion']}, a node of a cluster with API server, scheduler and controllers of the same version",
    )
    in_force = json.loads(cluster.node.cri.status(verbose=True).info["config"])["enableCDI"]
    lines = cluster.path(CONFIG).read_text().splitlines()
    number = lines.index("enable_cdi = false")
    say(
        "containerd",
        f"{info['containerRuntimeVersion']}; {CONFIG}:{number + 1}: {lines[number]}   (it reports: enableCDI {json.dumps(in_force)})",
    )
    scene.check("the runtime's own CDI", [False], [in_force])
    say("machine", f"{mock.COUNT} devices without hardware, /dev/mock/device_0 to _7; their CDI spec is in /etc/cdi")


def first_scene(scene: Scene) -> None:
    """Pods of 4, 3 and 2 of 8 devices. Raises NotSo at the first thing that is not as promised."""
    cluster, equipped = scene.cluster, scene.equipped
    print(
        "Devices by CDI on a real Kubernetes node, whose containerd has its own CDI off. Nothing is a stand-in but the devices."
    )
    title("The node")
    introduce(scene)
    equipped.start(*HALVES)
    for half in HALVES:
        say("nri-cdi", f"nri-cdi {half}   (process {equipped.agents[half].pid})")
    capacity, allocatable = cluster.resource(mock.KIND)
    say("node", f"{mock.KIND}: {capacity}, {allocatable} of them allocatable")

    title("Pods ask for 4, 3 and 2 of 8 devices")
    cluster.apply(asking("four", mock.KIND, 4), asking("three", mock.KIND, 3))
    cluster.wait_running("four", "three")
    cluster.apply(asking("two", mock.KIND, 2))
    event = cluster.wait_event("two", "FailedScheduling")
    scene.kubectl("get", "pods")
    scene.event(event, "two", f"Insufficient {mock.KIND}")
    scene.look_into(four=4, three=3)

    title("One is deleted, two gets its turn")
    started = time.monotonic()
    cluster.delete("three")
    cluster.wait_running("two")
    say("kubelet", f"two runs {time.monotonic() - started:.1f} s after the deletion of three")
    scene.look_into(two=2)


def trouble(scene: Scene) -> None:
    """Restarts and deaths around running pods. Raises NotSo at the first thing that is not as promised."""
    cluster, equipped = scene.cluster, scene.equipped
    title("The kubelet and containerd are restarted")
    before = {name: (cluster.status(name).containers["c"].id, equipped.look(name)) for name in ("four", "two")}
    cluster.kubelet.stop()
    cluster.node.restart()
    cluster.kubelet.start()
    cluster.kubelet.wait()
    equipped.start(*HALVES)
    after = {name: (cluster.status(name).containers["c"].id, equipped.look(name)) for name in ("four", "two")}
    scene.check("containers and devices after the restarts", before, after)
    say("kubelet", f"the same containers with the same devices; {CHECKPOINT} remembers them")

    title("The NRI half is killed, and a pod asks for a device")
    pid = equipped.agents["nri"].pid
    equipped.kill("nri")
    say("nri-cdi", f"kill -9 {pid}")
    cluster.apply(asking("late", mock.KIND, 1))
    scene.event(cluster.wait_event("late", "Failed"), "late", "PreStartContainer")
    scene.kubectl("get", "pods")
    equipped.start("nri")
    started = time.monotonic()
    cluster.wait_running("late")
    say(
        "kubelet",
        f"late runs {time.monotonic() - started:.1f} s after the NRI half is back: it is tried every 10 to 15 s",
    )
    scene.look_into(late=1)

    title("All of nri-cdi is killed, the kubelet restarts, and a container crashes: nobody is there to ask")
    equipped.kill()
    cluster.kubelet.restart()
    cluster.end("two")
    scene.event(cluster.wait_event("two", "Failed", GUARD_SENTENCE), "two", GUARD_SENTENCE)
    scene.check("whether the container runs", [False], [cluster.status("two").running])

    title("nri-cdi returns")
    started = time.monotonic()
    equipped.start(*HALVES)
    cluster.wait_running("two")
    say("kubelet", f"two runs again {time.monotonic() - started:.1f} s later")
    scene.look_into(four=4, two=2)


def run(series: str) -> int:
    """Play the scene on a cluster of its own; how many checks held. Raises NotSo and LabError."""
    if native_cdi_always(series):
        raise LabError(f"containerd {series} has no enable_cdi to switch off: take another $RUNTIME, 1.7 or 2.1")
    with Cluster(series) as cluster:
        scene = Scene(Equipped(cluster))
        first_scene(scene)
        trouble(scene)
        return scene.checks


def main() -> int:
    """Read the environment and run."""
    started = time.monotonic()
    try:
        checks = run(os.environ.get("RUNTIME") or "2.1")
    except NotSo as error:
        print(f"\ndemo-kubernetes: not so: {error}", file=sys.stderr)
        return 1
    except LabError as error:
        print(f"\ndemo-kubernetes: {error}", file=sys.stderr)
        return 3
    print(f"\nAll {checks} checks hold ({time.monotonic() - started:.0f} s).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
