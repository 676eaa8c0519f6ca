"""The first scene of nri-cdi on kind, from nothing: `make demo-kind`, or `python hack/demo_kind.py`.

Eight mock devices, a cluster whose containerd has its own CDI off, the agent from its chart, and pods that ask for 4, 3 and 2 devices. The third has
to wait until one of the others goes. Each container is looked into: it must see its devices, all of them and no others.

$KIND_NODE_IMAGE names the node image (kind's own by default), $IMAGE the agent's (nri-cdi:dev, which `make image` builds). KEEP=1 leaves the
cluster, for a look around. Exit status: 0 all is so, 1 something is not, 3 a part is missing.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))  # the demo runs from a checkout that nobody has installed

# below the line that makes them importable
from deployed.kind import KindCluster, complain  # noqa: E402
from deployed.release import IMAGE, Release  # noqa: E402
from deployed.sight import Sight, braces, look, right  # noqa: E402
from lab import mock  # noqa: E402
from lab.kube_pods import asking  # noqa: E402
from lab.trouble import LabError, wait_until  # noqa: E402

NAME: Final = "nri-cdi"


class NotSo(Exception):  # the demo's one finding
    """Something is not as nri-cdi promises."""


def say(who: str, text: str) -> None:
    """One line of the scene."""
    print(f"{who:<11}{text}", flush=True)


def look_into(cluster: KindCluster, *pods: tuple[str, int]) -> None:
    """Show what the containers see. Raises NotSo if one does not see what it asked for."""
    print(f"\n{'pod':<6}{'asks':<6}{'sees in /dev/mock':<20}{'sees in /mock/lib':<20}environment")
    seen: list[Sight] = []
    for name, count in pods:
        sight = look(cluster, name)
        seen.append(sight)
        print(f"{name:<6}{count:<6}{braces(sight.dev):<20}{braces(sight.lib):<20}{' '.join(sight.env)}", flush=True)
        if not right(sight, count):
            raise NotSo(f"{name} asks for {count} devices and sees {sight}")
    everything = [device for sight in seen for device in sight.dev]
    if len(everything) != len(set(everything)):
        raise NotSo("two pods see the same device")
    print()


def play(cluster: KindCluster) -> None:
    """The scene."""
    say("kind", f"{cluster.node}: containerd {cluster.runtime()}, NRI on, enable_cdi = false")
    say("kind", f"{mock.COUNT} mock devices in /dev/mock, their libraries in /mock/lib, their CDI spec in /etc/cdi")
    cluster.load(IMAGE)
    Release(cluster).install()
    say("helm", f"nri-cdi is installed from the chart with the image {IMAGE}, and ready")
    cluster.wait_allocatable(mock.KIND, mock.COUNT)
    say("kubelet", f"{mock.KIND}: {mock.COUNT} allocatable")

    cluster.apply(asking("p1", mock.KIND, 4))
    cluster.apply(asking("p3", mock.KIND, 3))
    cluster.wait_running("p1")
    cluster.wait_running("p3")
    cluster.apply(asking("p2", mock.KIND, 2))
    wait_until(lambda: cluster.events("p2"), 30, "an event of p2", 0.2)
    if cluster.pod("p2").running:
        raise NotSo("9 devices of 8 were given away")
    say("scheduler", f"p2 waits: {cluster.events('p2')[-1].message}")
    look_into(cluster, ("p1", 4), ("p3", 3))
    cluster.delete("p3")
    cluster.wait_running("p2")
    say("kubectl", "p3 is deleted, so p2 runs")
    look_into(cluster, ("p1", 4), ("p2", 2))


def main() -> int:
    """Play it, and say how it went."""
    started = time.monotonic()
    keep = bool(os.environ.get("KEEP"))
    try:
        with KindCluster(NAME, keep=keep) as cluster:
            play(cluster)
            if keep:
                say("kept", f"export KUBECONFIG={cluster.kubeconfig}")
    except NotSo as error:
        print(f"\nnot so: {error}", file=sys.stderr)
        return 1
    except LabError as error:
        return complain(error)
    say("all is so", f"each container sees its devices and no others ({time.monotonic() - started:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
