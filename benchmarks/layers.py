"""What the layers cost: an answer with all of them on beside one with all of them off, and what a second slot adds.

    python benchmarks/layers.py [--json] [--requests N] [--runtime SERIES]

Four agents at once, each with a runtime of its own (hack/lab/driver.py: the least there is), are asked in turns, so that what the machine does
besides hits all. Two are on and two off, started in the order on, off, off, on: where a process comes to lie makes up to a third of an empty answer. On: own deadline with its watchdog, start gate, strict link, guards in the request. Off: `--deadline 30 --start-gate
off`, no guards. The requests are those of benchmarks/answer.py. An answer's time is from the first byte sent to the last one received.

The second slot is asked with what the runtime shows it: the container as the first one has adjusted it. Its time is measured as an answer, and in this process
as that of the handler alone; the rest is the kernel's: two messages over a socket, two threads woken. Needs neither root nor a container runtime.

With `--runtime 2.4` (root, a containerd of hack/get-runtime) whole creations are measured there too, with one slot, with two, and with the strict
link, in turns: a container of ours and one without devices.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

CHECKOUT: Final = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "hack")]  # from a checkout that nobody has installed

# below the line that makes them importable
from lab.agent import Agent  # noqa: E402
from lab.driver import Driver, container_request  # noqa: E402
from lab.node import Node  # noqa: E402
from lab.served import Served  # noqa: E402
from lab.trouble import LabError  # noqa: E402

from benchmarks.answer import KIND, NODES, Place  # noqa: E402
from nri_cdi.cdi import Snapshot, scan_directories  # noqa: E402
from nri_cdi.host.root import HostRoot  # noqa: E402
from nri_cdi.inject import InjectPlugin, Stance  # noqa: E402
from nri_cdi.kubelet.allocate import allocate  # noqa: E402
from nri_cdi.nri import Event, Runtime, Version, api  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PREFIX: Final = "cdi.k8s.io/"
OFF: Final = ("--deadline", "30", "--start-gate", "off")
ON: Final = ("--strict-link", "on")
WARM_UP: Final = 100
TURNS: Final = 4
TARGETS: Final = {"layers_percent": 10.0, "second_handler_us": 60.0}


def request(*, guard: bool) -> api.CreateContainerRequest:
    """A container that was allocated all devices of the spec, as the kubelet asks for it."""
    allocation = allocate(
        [f"d{number}" for number in range(len(NODES))], KIND, prefix=PREFIX, random_id=bytes(16), guard=guard
    )
    result = container_request(dict(allocation.annotations))
    for mount in allocation.mounts:
        result.container.mounts.append(
            api.Mount(destination=mount.container_path, type="bind", source=mount.host_path, options=["rbind", "ro"])
        )
    return result


def adjusted(asked: api.CreateContainerRequest, adjustment: api.ContainerAdjustment) -> api.CreateContainerRequest:
    """The request as the runtime shows it to the next plugin."""
    result = api.CreateContainerRequest()
    result.CopyFrom(asked)
    container = result.container
    removed = {mount.destination[1:] for mount in adjustment.mounts if mount.destination.startswith("-")}
    mounts = [mount for mount in container.mounts if mount.destination not in removed]
    mounts += [mount for mount in adjustment.mounts if not mount.destination.startswith("-")]
    del container.mounts[:]
    container.mounts.extend(mounts)
    container.annotations.update(adjustment.annotations)
    container.env.extend(f"{one.key}={one.value}" for one in adjustment.env)
    container.linux.devices.extend(adjustment.linux.devices)
    return result


def summary(times: Sequence[float]) -> dict[str, float]:
    """Median and p99, in microseconds."""
    ordered = sorted(times)
    return {
        "median": round(statistics.median(ordered) * 1e6, 1),
        "p99": round(ordered[len(ordered) * 99 // 100] * 1e6, 1),
    }


def paired(calls: Mapping[str, tuple[Sequence[Driver], str, bytes]], count: int) -> dict[str, dict[str, float]]:
    """The answers' times by what is called, each of its drivers called in turns `count` times; the order changes."""
    turns = [
        (name, driver, method, payload) for name, (drivers, method, payload) in calls.items() for driver in drivers
    ]
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(count + WARM_UP):
        for at in range(len(turns)):
            name, driver, method, payload = turns[(at + number) % len(turns)]
            answer, seconds = driver.timed(method, payload)
            if answer.payload is None:
                raise LabError(f"refused: {answer.status.message}")
            if number >= WARM_UP:
                times[name].append(seconds)
    return {name: summary(one) for name, one in times.items()}


def handler(place: Place, asked: api.CreateContainerRequest, count: int) -> dict[str, float]:
    """The time of the handler alone, from the encoded request to the encoded answer, in this process."""
    snapshot = Snapshot.build(scan_directories([str(place.root / "cdi")]))
    plugin = InjectPlugin(lambda _: snapshot, HostRoot(), Stance(PREFIX))
    plugin.configure(Runtime("containerd", "v2.4.2", Version(0, 12, 3), 2.0, ""))
    payload = asked.SerializeToString()
    times = []
    for number in range(count + WARM_UP):
        started = time.perf_counter()
        if plugin.concerns(Event.CREATE_CONTAINER, payload, state_change=False):
            answer = plugin.create_container(api.CreateContainerRequest.FromString(payload))
            if answer is not None:
                answer.SerializeToString()
        if number >= WARM_UP:
            times.append(time.perf_counter() - started)
    return summary(times)


def measure(root: Path, count: int) -> dict[str, Any]:
    """Everything, as what `--json` prints."""
    guarded, bare = request(guard=True), request(guard=False)
    keyless = container_request({}).SerializeToString()
    with ExitStack() as stack:
        drivers: dict[str, list[Driver]] = {"on": [], "off": []}
        places = []
        for number, name in enumerate(("on", "off", "off", "on")):
            place = Place(root / f"{number}-{name}")
            driver = stack.enter_context(Driver(place.socket))
            stack.enter_context(place.agent("nri", *(ON if name == "on" else OFF)))
            driver.accept()
            places.append(place)
            drivers[name].append(driver)
        on, off = drivers["on"], drivers["off"]
        first = on[0].call("CreateContainer", guarded.SerializeToString())
        if first.payload is None:
            raise LabError(f"refused: {first.status.message}")
        second = adjusted(guarded, api.CreateContainerResponse.FromString(first.payload).adjust)
        again = on[0].call("CreateContainer", second.SerializeToString())
        if again.payload != b"":
            raise LabError("the second slot does not find everything done")
        ours = paired(
            {
                "on": (on, "CreateContainer", guarded.SerializeToString()),
                "off": (off, "CreateContainer", bare.SerializeToString()),
            },
            count // 2,
        )
        others = paired({"on": (on, "CreateContainer", keyless), "off": (off, "CreateContainer", keyless)}, count // 2)
        slots = paired(
            {
                "answer": (on, "CreateContainer", second.SerializeToString()),
                "beside_an_empty_answer": (off, "CreateContainer", keyless),
            },
            count // 2,
        )
        validate = api.ValidateContainerAdjustmentRequest(
            pod=guarded.pod,
            container=container_request({}).container,
            plugins=[api.PluginInstance(name="nri-cdi", index="10")],
        ).SerializeToString()
        strict = paired({"strict": (on, "ValidateContainerAdjustment", validate)}, count // 2)
        alone = {
            "first": handler(places[0], guarded, count),
            "second": handler(places[0], second, count),
        }
    return {
        "ours_us": ours,
        "not_ours_us": others,
        "strict_link_not_ours_us": strict["strict"],
        "second_slot_us": {**slots, "handler": alone["second"]},
        "first_slot_handler_us": alone["first"],
        "requests": count,
        "targets": TARGETS,
    }


def creations(series: str, count: int) -> dict[str, dict[str, dict[str, float]]]:
    """The times of CRI CreateContainer by what runs and whose container it is, `count` of each in four turns."""
    times: dict[str, dict[str, list[float]]] = {
        name: {"ours": [], "not_ours": []} for name in ("one slot", "two slots", "strict link")
    }
    indexes = {"one slot": ("10",), "two slots": ("10", "11"), "strict link": ("10",)}
    with Node(series) as node:
        served, pod, serial = Served(node), node.pod(), itertools.count()
        for _ in range(TURNS):
            for name, found in times.items():
                with ExitStack() as stack:
                    for index in indexes[name]:
                        flags = ("--plugin-index", index, *(ON if name == "strict link" else ()), *served.flags)
                        stack.enter_context(Agent(node.sandbox, "nri", *flags)).wait_ready()
                    for _ in range(count // TURNS):
                        for whose, config in (("ours", served.devices(0, 1, 2, 3)), ("not_ours", None)):
                            started = time.perf_counter()
                            container = pod.container(f"c{next(serial)}", extra=config)
                            found[whose].append(time.perf_counter() - started)
                            container.remove()
    return {name: {whose: summary(one) for whose, one in found.items()} for name, found in times.items()}


def text(result: dict[str, Any]) -> str:
    """The numbers for people."""
    lines = []
    for name, label in (("ours_us", "answer, 4 devices"), ("not_ours_us", "answer, not ours")):
        on, off = result[name]["on"], result[name]["off"]
        for part in ("median", "p99"):
            more = (on[part] / off[part] - 1) * 100
            lines.append(
                f"{label}, {part:<7} on {on[part]:8.1f} us   off {off[part]:8.1f} us   {more:+5.1f} %"
                f"   (aim: within {TARGETS['layers_percent']:g} %)"
            )
    strict = result["strict_link_not_ours_us"]
    lines.append(f"strict link, not ours: {strict['median']:.1f} us more for each container, p99 {strict['p99']:.1f}")
    second = result["second_slot_us"]
    lines.append(
        f"second slot: handler {second['handler']['median']:.1f} us (aim: under {TARGETS['second_handler_us']:g}), "
        f"answer {second['answer']['median']:.1f} us, of which an empty answer takes {second['beside_an_empty_answer']['median']:.1f}"
    )
    lines.append(f"first slot: handler {result['first_slot_handler_us']['median']:.1f} us")
    for name, one in result.get("creations_us", {}).items():
        lines.append(
            f"creation, {name:<12} ours {one['ours']['median'] / 1000:6.2f} ms   not ours {one['not_ours']['median'] / 1000:6.2f} ms"
        )
    return "\n".join(lines)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--requests", type=int, default=3000, metavar="N", help="of each kind (default: 3000)")
    parser.add_argument("--runtime", metavar="SERIES", help="measure whole creations on this containerd, too")
    parser.add_argument("--creations", type=int, default=80, metavar="N", help="of each kind there (default: 80)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nri-cdi-bench-") as directory:
        try:
            result = measure(Path(directory), options.requests)
            if options.runtime:
                result["creations_us"] = creations(options.runtime, options.creations)
        except (TimeoutError, LabError) as error:
            print(f"layers: {error}", file=sys.stderr)
            return 1
    print(json.dumps(result, indent=2) if options.json else text(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
