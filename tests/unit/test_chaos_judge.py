from __future__ import annotations

import copy
from typing import Any

import pytest
from chaoslab import delays, judge, ledger, world

BASE: dict[str, Any] = {
    "annotations": {"io.kubernetes.cri.container-name": "plain"},
    "process": {"env": ["PATH=/bin"], "args": ["sleep"]},
    "mounts": [{"destination": "/proc", "source": "proc", "type": "proc", "options": []}],
    "linux": {
        "devices": None,
        "namespaces": [{"type": "pid"}],
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
    },
}
WANTED = world.wanted([3], [1], allocations=2)


def node(path: str, minor: int) -> dict[str, Any]:
    return {"path": path, "type": "c", "major": 89, "minor": minor}


def rule(minor: int, access: str = "rw") -> dict[str, Any]:
    return {"allow": True, "type": "c", "major": 89, "minor": minor, "access": access}


def injected() -> dict[str, Any]:
    """The OCI spec of a container with exactly what is wanted."""
    spec = copy.deepcopy(BASE)
    spec["annotations"] = {
        "io.kubernetes.cri.container-name": "c",
        "nri-cdi.dev/mark.v1_a": "x",
        "nri-cdi.dev/mark.v1_b": "y",
    }
    spec["process"]["env"] += sorted(WANTED.env)
    spec["linux"]["devices"] = [node("/dev/mock/device_3", 3), node("/dev/chaos/nic_1", 101)]
    spec["linux"]["resources"]["devices"] += [rule(3), rule(101)]
    spec["mounts"] += [
        {"destination": path, "source": path, "type": "", "options": ["ro", "bind"]} for path in WANTED.files
    ]
    return spec


def changed(*path: str, append: object) -> dict[str, Any]:
    """`injected` with something more in the list at `path`."""
    spec = injected()
    target: Any = spec
    for key in path:
        target = target[key]
    target.append(append)
    return spec


def lacking(*path: str) -> dict[str, Any]:
    """`injected` without the last member of the list at `path`."""
    spec = injected()
    target: Any = spec
    for key in path:
        target = target[key]
    target.pop()
    return spec


def test_a_container_with_exactly_its_devices_is_in_order() -> None:
    assert judge.wrong_spec(injected(), BASE, WANTED) == []


GUARD = {"destination": "/.nri-cdi", "source": "/dev/null", "type": "bind", "options": ["ro"]}
COVER = {"destination": "/.nri-cdi", "source": "tmpfs", "type": "tmpfs", "options": ["ro"]}
SPECS = {
    "no device": (lacking("linux", "devices"), "device nodes"),
    "another's device": (changed("linux", "devices", append=node("/dev/mock/device_4", 4)), "device nodes"),
    "no rule": (lacking("linux", "resources", "devices"), "device rules"),
    "another's rule": (changed("linux", "resources", "devices", append=rule(4)), "device rules"),
    "no mount": (lacking("mounts"), "mounts"),
    "no variable": (lacking("process", "env"), "variables"),
    "another's variable": (changed("process", "env", append="MOCK_DEVICE_4=/dev/mock/device_4"), "variables"),
    "the guard": (changed("mounts", append=GUARD), "the guard stands"),
    "something else": (changed("process", "args", append="more"), "/process/args/1"),
}


@pytest.mark.parametrize(("spec", "says"), SPECS.values(), ids=SPECS.keys())
def test_each_thing_that_is_not_as_wanted_is_seen(spec: dict[str, Any], says: str) -> None:
    assert any(says in problem for problem in judge.wrong_spec(spec, BASE, WANTED))


def test_a_covered_guard_is_in_order() -> None:
    assert judge.wrong_spec(changed("mounts", append=COVER), BASE, WANTED) == []


def test_a_keyless_container_may_differ_in_nothing() -> None:
    same = copy.deepcopy(BASE)
    assert judge.wrong_spec(same, BASE, None) == []
    same["process"]["env"].append("X=1")
    assert judge.wrong_spec(same, BASE, None) != []


INSIDE = """\
node|/dev/mock/device_3|character special file|59|3
read|/dev/mock/device_3|No such device or address
write|/dev/mock/device_3|No such device or address
node|/dev/chaos/nic_1|character special file|59|65
read|/dev/chaos/nic_1|No such device or address
write|/dev/chaos/nic_1|No such device or address
file|/mock/lib/device_3.so|library of mock device 3
file|/mock/chaos/nic_1.conf|settings of nic 1
env|MOCK_DRIVER=1
env|MOCK_DEVICE_3=/dev/mock/device_3
env|CHAOS_NIC_1=yes
other|Operation not permitted
"""


def test_the_inside_is_in_order_when_all_nodes_open_and_no_other_does() -> None:
    assert judge.wrong_inside(INSIDE, WANTED) == []
    assert judge.wrong_inside("other|Operation not permitted\n", None) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("|59|3", "|59|4"),
        ("read|/dev/mock/device_3|No such device or address", "read|/dev/mock/device_3|Operation not permitted"),
        ("library of mock device 3", "library of mock device 4"),
        ("env|CHAOS_NIC_1=yes\n", ""),
        ("other|Operation not permitted", "other|No such device or address"),
        ("other|", "guard|character special file\nother|"),
    ],
)
def test_each_thing_that_is_wrong_inside_is_seen(old: str, new: str) -> None:
    assert judge.wrong_inside(INSIDE.replace(old, new), WANTED) != []


def test_the_outside_compares_nodes_and_the_kernels_rules() -> None:
    nodes = {"/dev/mock/device_3": ("c", 89, 3), "/dev/chaos/nic_1": ("c", 89, 101)}
    rules = ("c 89:101 rw", "c 89:3 rw")
    assert judge.wrong_outside(judge.Outside(nodes, rules), WANTED) == []
    assert judge.wrong_outside(judge.Outside(nodes, None), WANTED) == []
    assert judge.wrong_outside(judge.Outside(nodes, rules[:1]), WANTED) != []
    assert judge.wrong_outside(judge.Outside({}, ()), WANTED) != []


def test_a_hit_is_a_fault_between_a_request_and_its_answer() -> None:
    calls = [ledger.Call("create", "p", "c", keyed=True, sent=1.0, answered=2.0)]
    faults = [ledger.Fault(0.9, "early"), ledger.Fault(1.5, "between"), ledger.Fault(2.1, "late")]
    assert [fault.kind for fault in ledger.hits(faults, calls)] == ["between"]


def notes(at: float, step: float, ours: float, name: str = "c") -> dict[str, list[str]]:
    """What the observers note of one creation."""
    times = {"00": at, "01": at + step, "99": at + step + ours}
    return {index: [f"{seconds:.6f} create p {name}\n"] for index, seconds in times.items()}


KEYLESS = [ledger.Call("create", "p", "c", keyed=False, sent=0.0, answered=9.0)]


@pytest.mark.parametrize(
    ("step", "ours", "frozen", "still", "late", "held"),
    [
        (0.01, 0.1, [], [], 0, 0),
        (0.01, 0.3, [], [], 1, 0),
        (0.4, 0.5, [], [], 0, 0),  # the machine is slow, not we
        (0.01, 2.0, [ledger.Span(1.1, 2.9)], [], 0, 1),
        (0.01, 2.0, [ledger.Span(1.1, 2.0), ledger.Span(1.2, 2.2)], [], 1, 1),  # thawed, and still not answered
        (0.01, 0.5, [], [ledger.Span(1.2, 1.5)], 0, 0),
        (
            0.01,
            0.5,
            [],
            [ledger.Span(0.2, 1.1), ledger.Span(1.5, 9.0)],
            1,
            0,
        ),  # 0.09 s and 0.01 s of it fall into the wait
        (0.01, 1.0, [ledger.Span(1.1, 1.6)], [ledger.Span(1.2, 1.6)], 1, 1),  # at the same time: not twice
    ],
)
def test_what_is_ours_is_the_time_past_us_less_a_step_and_less_the_time_in_which_nobody_could_answer(
    step: float, ours: float, frozen: list[ledger.Span], still: list[ledger.Span], late: int, held: int
) -> None:
    measured = delays.measure(delays.read(notes(1.0, step, ours)), KEYLESS, frozen, still)
    assert (len(measured.late), measured.frozen, measured.measured) == (late, held, 1)


def test_a_processor_stood_still_from_when_a_beat_was_due_to_when_it_came() -> None:
    assert delays.spans(["1.0 1.5\n", "2.0 2.25\n", "3.0 4"]) == [ledger.Span(1.0, 1.5), ledger.Span(2.0, 2.25)]


def test_a_request_that_not_all_observers_saw_is_not_measured() -> None:
    some = notes(1.0, 0.01, 5.0) | {"99": ["7.0 create p"]}
    assert delays.measure(delays.read(some), KEYLESS, [], []).measured == 0


def test_waiting_behind_a_container_with_a_key_is_counted_apart() -> None:
    calls = [*KEYLESS, ledger.Call("create", "p", "keyed", keyed=True, sent=0.0, answered=9.0)]
    both = notes(5.0, 0.01, 0.01)
    other = notes(1.0, 0.01, 3.0, "keyed")
    passages = delays.read({index: both[index] + other[index] for index in delays.INDEXES})
    measured = delays.measure(passages, calls, [], [])
    assert (measured.queued, len(measured.late)) == (1, 0)
    # behind an agent that is frozen nobody but the harness holds it up
    assert delays.measure(passages, calls, [ledger.Span(1.0, 3.9)], []).queued == 0


def test_the_same_seed_makes_the_same_decisions() -> None:
    def kinds(seed: int) -> list[tuple[str, world.Wanted | None]]:
        rng = ledger.dice(seed, "load-0")
        return [(order.kind, order.wanted) for order in (world.draw(rng, "cdi.k8s.io/", guard=True) for _ in range(30))]

    assert kinds(7) == kinds(7)
    assert kinds(7) != kinds(8)
