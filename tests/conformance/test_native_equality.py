"""What nri-cdi makes of a container against what the runtime's own CDI makes of it: equal, but for named differences.

The differences are data: native_differences.toml. One that is not listed fails, and so does a listed one that does not occur.
"""

from __future__ import annotations

import fnmatch
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
from lab import mock
from lab.agent import Agent
from lab.cri import CriError
from lab.node import Node
from lab.oci import MISSING, comparable, differences
from lab.served import allocated, node_spec

from nri_cdi.allocation import DEFAULT_PREFIX, mark_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.pods import Container
    from lab.served import Served

LISTED = Path(__file__).with_name("native_differences.toml")
KIND = "rich.example.com/dev"


def hooks() -> list[dict[str, Any]]:
    """One hook of each kind that CDI has; all of them exist on the host and in the image."""
    kinds = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    return [
        {"hookName": kind, "path": "/bin/true", "args": ["true", kind], "env": [f"KIND={kind}"], "timeout": 5}
        for kind in kinds
    ]


def rich_spec() -> dict[str, Any]:
    """A spec that uses what CDI has and NRI can carry on every series."""
    spec = node_spec(
        KIND,
        "a",
        edits={"env": ["OF_THE_SPEC=1", "FROM_IMAGE=no"], "hooks": [hooks()[1]]},
        env=["OF_THE_DEVICE=1", "GIVEN=changed", "EMPTY="],
        deviceNodes=[
            {"path": "/dev/renamed", "hostPath": "/dev/mock/device_0"},
            {"path": "/dev/given", "hostPath": "/dev/mock/device_1", "permissions": "rw", "fileMode": 0o640},
            {"path": "/dev/owned", "hostPath": "/dev/mock/device_2", "permissions": "rwm", "uid": 7, "gid": 8},
            {"path": "/dev/numbered", "type": "c", "major": 89, "minor": 3, "fileMode": 0o600, "uid": 1000},
        ],
        mounts=[
            {"hostPath": "/mock/lib", "containerPath": "/deep/er/lib", "options": ["rbind", "ro", "nosuid"]},
            {"hostPath": "/mock/lib/device_1.so", "containerPath": "/deep/one.so", "options": ["bind", "rprivate"]},
            {"hostPath": "tmpfs", "containerPath": "/scratch", "type": "tmpfs", "options": ["size=1m", "nodev"]},
            {"hostPath": "/mock", "containerPath": "/slave", "options": ["rbind", "rslave"]},
        ],
        hooks=hooks(),
    )
    spec["devices"].append({"name": "b", "containerEdits": {"env": ["OF_THE_DEVICE=2", "B=1"]}})
    return spec


@dataclass(frozen=True, slots=True)
class Case:
    """A container: the names of its devices, and what it is besides."""

    names: tuple[str, ...]
    user: int | None = None


CASES = {
    "tutorial": Case((mock.name(1), mock.name(2))),
    "rich": Case((f"{KIND}=a",)),
    "both devices of a spec": Case((f"{KIND}=b", f"{KIND}=a")),
    "not root": Case((mock.name(3), f"{KIND}=a"), user=1000),
}


@dataclass(frozen=True, slots=True)
class Difference:
    """A named difference: where (a JSON pointer with wildcards), on which series and cases, what native has and what we have, and why."""

    pointer: str
    series: tuple[str, ...]
    cases: tuple[str, ...]
    native: str
    ours: str
    reason: str

    @classmethod
    def of(cls, table: dict[str, Any]) -> Self:
        return cls(**{**table, "series": tuple(table["series"]), "cases": tuple(table["cases"])})

    def covers(self, at: str, native: object, ours: object) -> bool:
        return (
            fnmatch.fnmatchcase(at, self.pointer)
            and fnmatch.fnmatchcase(str(native), self.native)
            and fnmatch.fnmatchcase(str(ours), self.ours)
        )


def listed(series: str, case: str) -> list[Difference]:
    """The differences that must occur, and nothing else may."""
    known = [Difference.of(table) for table in tomllib.loads(LISTED.read_text())["difference"]]
    return [one for one in known if series in one.series and case in one.cases]


@pytest.fixture(scope="module")
def native(series: str) -> Iterator[Node]:
    """A node whose runtime does CDI itself; no agent."""
    with Node(series, native_cdi=True) as node:
        mock.create(node.path("/"))
        yield node


@pytest.fixture(autouse=True)
def _specs(request: pytest.FixtureRequest, served: Served) -> None:
    served.write_spec("rich.json", rich_spec())
    if "native" in request.fixturenames:
        path = request.getfixturevalue("native").path("/etc/cdi/rich.json")
        path.write_text(served.node.path("/etc/cdi/rich.json").read_text())


def create(node: Node, prefix: str, case: Case) -> Container:
    """The case's container on a node, its devices under the key of another device plugin: no guard, no mark."""
    return node.pod().container(
        annotations={f"{prefix}other-plugin_1": ",".join(case.names)}, env={"GIVEN": "by the pod"}, user=case.user
    )


@pytest.mark.parametrize("name", CASES)
def test_a_container_is_what_the_runtimes_own_cdi_makes_of_it(served: Served, native: Node, name: str) -> None:
    _ = served.agent
    wait_for_rich(served)
    theirs = create(native, DEFAULT_PREFIX, CASES[name])
    ours = create(served.node, served.prefix, CASES[name])
    known = listed(served.node.series, name)
    seen = differences(comparable(theirs), comparable(ours))
    native.remove_pods()

    unlisted = {at: pair for at, pair in seen.items() if not any(one.covers(at, *pair) for one in known)}
    stale = [one for one in known if not any(one.covers(at, *pair) for at, pair in seen.items())]
    assert unlisted == {}
    assert stale == []


def wait_for_rich(served: Served) -> None:
    """Until the agent has read the rich spec: a container that comes too soon is refused, which is another test's matter."""
    served.container(served.allocation(f"{KIND}=b"), name="probe")


def test_the_containers_of_both_run(served: Served, native: Node) -> None:
    _ = served.agent
    wait_for_rich(served)
    for node, prefix in ((native, DEFAULT_PREFIX), (served.node, served.prefix)):
        container = create(node, prefix, CASES["both devices of a spec"]).start()
        assert container.exec("sh", "-c", "echo $GIVEN $FROM_IMAGE $OF_THE_DEVICE $B") == "changed no 1 1\n"
        assert container.exec("ls", "/deep/er/lib").split()[0] == "device_0.so"
        assert "device_0" not in container.exec("ls", "/dev").split()
        assert "renamed" in container.exec("ls", "/dev").split()
    native.remove_pods()


NOT_THROUGH_NRI: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "intelRdt": ({"intelRdt": {"closID": "x"}}, ("1.7", "2.1", "2.4")),
    "additionalGids": ({"additionalGids": [7]}, ("1.7", "2.1", "2.4")),
    "read-only node": ({"deviceNodes": [{"path": "/dev/mock/device_1", "permissions": "r"}]}, ("1.7", "2.1")),
}


@pytest.mark.parametrize("what", NOT_THROUGH_NRI)
def test_what_native_cdi_can_do_and_nri_cannot_is_refused_by_name(served: Served, what: str) -> None:
    edits, unable = NOT_THROUGH_NRI[what]
    served.write_spec("not.json", {**node_spec("not.example.com/dev", "a", **edits), "cdiVersion": "0.7.0"})
    _ = served.agent
    config = served.allocation("not.example.com/dev=a")
    if served.node.series in unable:
        with pytest.raises(CriError) as caught:
            served.container(config)
        assert served.refused_as(caught.value).reason == "inexpressible"
        return
    rules = served.container(config).spec()["linux"]["resources"]["devices"]
    assert [(rule["allow"], rule["access"]) for rule in rules if rule.get("minor") == 1] == [
        (True, "rw"),
        (False, "wm"),
    ]


@pytest.mark.parametrize("guard", [False, True], ids=["plain", "guarded"])
def test_with_native_cdi_and_the_agent_nothing_is_added_but_the_mark(native: Node, *, guard: bool) -> None:
    names = (f"{KIND}=b", f"{KIND}=a")
    pod = native.pod()
    alone = comparable(pod.container(extra=allocated(DEFAULT_PREFIX, names, guard=False)).start())
    pod.remove()
    with Agent(native.sandbox, "nri") as agent:
        agent.wait_ready()
        config = allocated(DEFAULT_PREFIX, names, guard=guard)
        together = comparable(native.pod().container(extra=config).start())
    native.remove_pods()

    seen = differences(alone, together)
    (key,) = config.annotations
    mark = mark_key(key.removeprefix(DEFAULT_PREFIX)).replace("/", "~1")
    assert seen.pop(f"/annotations/{mark}")[0] == MISSING
    # lifting a guard is a change of mounts, after which the runtime sorts them anew; where they cannot be removed a cover is left
    lifted = {at for at in seen if at == "/mounts#order" or at.startswith("/mounts/~1.nri-cdi")}
    assert lifted == seen.keys()
    assert guard or not lifted
