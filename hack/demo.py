"""The promise of nri-cdi, shown on a real containerd whose own CDI is off: `make demo`, or `python hack/demo.py`.

$RUNTIME names the series of containerd (default 1.7). $DEMO_JSON names a file for the record of the run, which is
written whether it succeeds or not:

    ok        whether everything was as it should be
    seconds   how long it took
    error     what was not so, or null
    runtime   {series, containerd, runc, enable_cdi, config_line}: versions as the programs print them; `enable_cdi` as the running containerd reports it
    resource  the name of the resource
    pods      [{name, asked, devices, dev, lib, env}], each pod once for each time it was looked into: the devices it was allocated, and the
              names that its container saw in /dev/mock and /mock/lib, and the MOCK_DEVICE_ variables in its environment
    access    [{pod, device, how, said}]: what opening a device node inside the container answered
    refusals  [{pod, phase, reason, message}]: why a pod did not run, each time it did not
    checks    [{what, expected, seen}], in the order of the run; the last one is the failed one if `ok` is false

Exit status: 0 all is so, 1 something is not (what was expected and what was seen), 3 a part is missing (which, and
how to get it).
"""

from __future__ import annotations

import json
import os
import sys
import textwrap
import time
from pathlib import Path
from typing import Any, Final

CHECKOUT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))  # the demo runs from a checkout that nobody has installed

# below the line that makes them importable
from lab import mock  # noqa: E402
from lab.agent import Agent  # noqa: E402
from lab.config import native_cdi_always  # noqa: E402
from lab.cri import CriError  # noqa: E402
from lab.node import CONFIG, Node  # noqa: E402
from lab.standin import StandInPod, Status  # noqa: E402
from lab.trouble import LabError  # noqa: E402

from nri_cdi.allocation import GUARD_SENTENCE  # noqa: E402
from nri_cdi.testing.kubelet import FakeKubelet  # noqa: E402

WIDTH: Final = 110
WHO: Final = 12
KUBELET_DIR: Final = "/var/lib/kubelet/device-plugins"


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


def braces(names: list[str]) -> str:
    """`device_{0,1}` for device_0 and device_1, and the same with a common suffix; `-` for none."""
    numbers = sorted(int(name.removeprefix("device_").removesuffix(".so")) for name in names)
    if not numbers:
        return "-"
    inner = ",".join(map(str, numbers))
    return f"device_{{{inner}}}" if len(numbers) > 1 else f"device_{inner}"


class Scene:
    """The running parts, and the record of what they said."""

    def __init__(self, node: Node, kubelet: FakeKubelet, record: dict[str, Any]) -> None:
        self.node = node
        self.kubelet = kubelet
        self.record = record

    def check(self, what: str, expected: object, seen: object) -> None:
        """Record that `what` is as it should be. Raises NotSo if it is not."""
        self.record["checks"].append({"what": what, "expected": expected, "seen": seen})
        if expected != seen:
            raise NotSo(f"{what}\n  expected: {expected}\n  seen:     {seen}")

    def agent(self) -> Agent:
        """Start the agent and wait for both of its halves."""
        agent = Agent(self.node.sandbox, "run", "--resource", mock.KIND)
        agent.wait_ready()
        self.kubelet.wait_for(lambda: self.kubelet.allocatable(mock.KIND) == mock.COUNT, 10)
        say(
            "agent",
            f"nri-cdi run --resource {mock.KIND}   (process {agent.pid}, synchronized over NRI)",
        )
        say("kubelet*", f"{mock.KIND}: {self.kubelet.allocatable(mock.KIND)} allocatable")
        return agent

    def pod(self, name: str, count: int) -> StandInPod:
        """A pod with one container that asks `count` devices."""
        return StandInPod(self.kubelet, self.node, name, mock.KIND, count)

    def refused(self, who: str, pod: StandInPod, reason: str, text: str) -> None:
        """The pod must stand at `reason`, with `text` in its message, and no container of it may run."""
        status: Status = pod.status
        pending = "Pending, " if status.phase == "Pending" else ""
        say(who, f"{pod.name}: {pending}{status.reason}: {status.message}")
        self.record["refusals"].append(
            {"pod": pod.name, "phase": status.phase, "reason": status.reason, "message": status.message}
        )
        self.check(f"why {pod.name} does not run", reason, status.reason)
        self.check(f"{text!r} in the message of {pod.name}", True, text in status.message)  # noqa: FBT003 - a seen value
        self.check(f"running containers of {pod.name}", 0, pod.running_containers())

    def look_into(self, *pods: StandInPod) -> None:
        """Show what the containers of running pods see; it must be their devices, all of them and no others."""
        print(f"{'pod':<7}{'asks':<6}{'allocated*':<19}{'sees in /dev/mock':<19}{'sees in /mock/lib':<19}environment")
        for pod in pods:
            assert pod.container is not None
            dev = pod.container.sh("ls /dev/mock 2>/dev/null")[1].split()
            lib = pod.container.sh("ls /mock/lib 2>/dev/null")[1].split()
            env = sorted(line for line in pod.container.exec("env").split() if line.startswith("MOCK_DEVICE_"))
            numbers = sorted(int(one.removeprefix("device_")) for one in pod.ids)
            names = ",".join(line.partition("=")[0].removeprefix("MOCK_DEVICE_") for line in env) or "-"
            print(
                f"{pod.name:<7}{pod.count:<6}{braces(list(pod.ids)):<19}{braces(dev):<19}{braces(lib):<19}MOCK_DEVICE_{{{names}}}"
            )
            self.record["pods"].append(
                {"name": pod.name, "asked": pod.count, "devices": list(pod.ids), "dev": dev, "lib": lib, "env": env}
            )
            self.check(f"devices allocated to {pod.name}", pod.count, len(numbers))
            self.check(f"/dev/mock in {pod.name}", [f"device_{n}" for n in numbers], dev)
            self.check(f"/mock/lib in {pod.name}", [f"device_{n}.so" for n in numbers], lib)
            self.check(f"libraries in {pod.name}", "".join(map(mock.library, numbers)), self._libraries(pod, numbers))
            self.check(f"environment of {pod.name}", [f"MOCK_DEVICE_{n}=/dev/mock/device_{n}" for n in numbers], env)
            self.check(f"driver variable of {pod.name}", "1\n", pod.container.exec("sh", "-c", "echo $MOCK_DRIVER"))

    @staticmethod
    def _libraries(pod: StandInPod, numbers: list[int]) -> str:
        assert pod.container is not None
        return pod.container.exec("cat", *(f"/mock/lib/device_{number}.so" for number in numbers))

    def open_device(self, pod: StandInPod, device: str, how: str, script: str, expected: str, meaning: str) -> None:
        """Open a device node inside the pod's container; the kernel must answer `expected`."""
        assert pod.container is not None
        said = pod.container.sh(script)[1].strip().rpartition(": ")[2]
        say(f"in {pod.name}", f"{how:<36}{said:<28}{meaning}")
        self.record["access"].append({"pod": pod.name, "device": device, "how": how, "said": said})
        self.check(f"{how} in {pod.name}", expected, said)


def introduce(node: Node, record: dict[str, Any]) -> None:
    """Show which runtime it is, and that its own CDI is off. Raises LabError where it cannot be off."""
    if native_cdi_always(node.series):
        raise LabError(f"containerd {node.series} has no enable_cdi to switch off: take another $RUNTIME, 1.7 or 2.1")
    containerd = node.sandbox.run(str(node.bin / "containerd"), "--version").strip()
    containerd = "containerd " + " ".join(containerd.split()[2:])  # less the name of the program's Go module
    runc = node.sandbox.run(node.runc, "--version").splitlines()[0]
    in_force = json.loads(node.cri.status(verbose=True).info["config"])["enableCDI"]
    lines = node.path(CONFIG).read_text().splitlines()
    line = lines.index("enable_cdi = false")
    record["runtime"] = {
        "series": node.series,
        "containerd": containerd,
        "runc": runc,
        "enable_cdi": in_force,
        "config_line": lines[line],
    }
    say("containerd", f"{containerd}; {runc}")
    say("its config", f"{CONFIG}:{line + 1}: {lines[line]}   (it reports: enableCDI {json.dumps(in_force)})")


def play(scene: Scene) -> None:
    """The scene. Raises NotSo at the first thing that is not as promised."""
    print(
        "Devices by CDI, on a real containerd whose own CDI is off. Only the kubelet* is a stand-in: it speaks the real"
    )
    print(
        "device plugin API and CRI. Everything else is what containerd, runc and the containers answered in this run."
    )
    title("The node")
    introduce(scene.node, scene.record)
    scene.check("the runtime's own CDI", False, scene.record["runtime"]["enable_cdi"])  # noqa: FBT003 - a seen value
    mock.create(scene.node.path("/"))
    say("machine", f"{mock.COUNT} devices without hardware, /dev/mock/device_0 to _7; their CDI spec is in /etc/cdi")
    agent = scene.agent()

    title("Pods ask for 4, 3 and 2 of 8 devices")
    one, two, three = (scene.pod(name, count) for name, count in (("one", 4), ("two", 3), ("three", 2)))
    for pod in (one, two):
        pod.wait_running(15)
    scene.look_into(one, two)
    scene.check("devices that both have", [], sorted(set(one.ids) & set(two.ids)))
    three.sync()
    scene.refused("kubelet*", three, "Unschedulable", f"Insufficient {mock.KIND}")

    title("What a container can open")
    own, foreign = one.ids[0], two.ids[0]
    number = foreign.removeprefix("device_")
    scene.open_device(
        one,
        own,
        f"cat /dev/mock/{own}",
        f"cat /dev/mock/{own}",
        "No such device or address",
        "allowed (no driver behind)",
    )
    scene.open_device(
        one,
        foreign,
        f"cat /dev/mock/{foreign}",
        f"cat /dev/mock/{foreign}",
        "No such file or directory",
        "two's: absent",
    )
    by_hand = f"mknod /tmp/{foreign} c {mock.MAJOR} {number} && cat /tmp/{foreign}"
    scene.open_device(
        one, foreign, f"mknod x c {mock.MAJOR} {number}; cat x", by_hand, "Operation not permitted", "two's: forbidden"
    )

    title("One is deleted, three gets its turn")
    one.delete()
    three.wait_running(15)
    scene.look_into(three)

    title("The agent is killed: after Allocate for four, before five is asked for")
    four, five = scene.pod("four", 1), scene.pod("five", 1)
    scene.check("four is admitted", True, four.admit())  # noqa: FBT003 - a seen value
    say("kubelet*", f"four: allocated {braces(list(four.ids))}")
    agent.kill()
    scene.kubelet.wait_for(lambda: scene.kubelet.allocatable(mock.KIND) == 0, 10)
    say("agent", f"kill -9 {agent.pid}")
    five.sync()
    scene.refused("kubelet*", five, "Unschedulable", f"Insufficient {mock.KIND}")
    four.sync()
    scene.refused("kubelet*", four, "CreateContainerConfigError", "PreStartContainer")
    scene.kubelet.restart()
    say("kubelet*", "restarted: it has forgotten the plugin, so it starts the container without asking it")
    four.sync()
    scene.refused("runc", four, "RunContainerError", GUARD_SENTENCE)
    scene.check("two runs on", 1, two.running_containers())

    title("The agent returns")
    scene.agent()
    four.wait_running(15)
    five.wait_running(15)
    scene.look_into(two, three, four, five)


def run(series: str, record: dict[str, Any]) -> None:
    """Play the scene on a node of its own. Raises NotSo and LabError."""
    with Node(series) as node:
        directory = node.path(KUBELET_DIR)
        directory.mkdir(parents=True)
        with FakeKubelet(directory) as kubelet:
            try:
                play(Scene(node, kubelet, record))
            except (CriError, TimeoutError) as error:
                raise NotSo(str(error)) from error


def main() -> int:
    """Read the environment, run, write the record."""
    started = time.monotonic()
    record: dict[str, Any] = {
        "ok": False,
        "seconds": 0.0,
        "error": None,
        "runtime": None,
        "resource": mock.KIND,
        "pods": [],
        "access": [],
        "refusals": [],
        "checks": [],
    }
    status = 0
    try:
        run(os.environ.get("RUNTIME") or "1.7", record)
    except NotSo as error:
        record["error"] = f"not so: {error}"
        status = 1
    except LabError as error:
        record["error"] = str(error)
        status = 3
    record["ok"] = status == 0
    record["seconds"] = round(time.monotonic() - started, 1)
    if os.environ.get("DEMO_JSON"):
        Path(os.environ["DEMO_JSON"]).write_text(json.dumps(record, indent=2) + "\n")
    if record["error"] is not None:
        print(f"\ndemo: {record['error']}", file=sys.stderr)
        return status
    print(f"\nAll {len(record['checks'])} checks hold ({record['seconds']} s).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
