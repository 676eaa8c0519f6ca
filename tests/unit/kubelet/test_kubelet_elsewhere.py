"""A resource that the node offers through another plugin is not registered; and what is remembered of our own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import grpc
import pytest

from nri_cdi.cdi import DeviceNode
from nri_cdi.kubelet import elsewhere as elsewheres
from nri_cdi.kubelet.candidates import Candidate
from nri_cdi.kubelet.elsewhere import RETURN, Count, Elsewhere
from nri_cdi.kubelet.inventory import Recalled
from nri_cdi.kubelet.memory import Memory
from nri_cdi.kubelet.pod_resources import NoAnswer, offered
from nri_cdi.kubelet.standing import Counted

if TYPE_CHECKING:
    import pathlib

    from nri_cdi.testing.log import Log
    from nri_cdi.testing.pod_resources import PodResources

GPU, NIC = "device.example.com/gpu", "vendor.com/nic"
SOON = 20.0
SOCKET_PARTS = ("pod-resources", "kubelet.sock")


def test_what_the_node_offers_is_asked_and_a_kubelet_that_does_not_say_is_said_with_the_reason(
    pod_resources: PodResources, device_plugins: pathlib.Path
) -> None:
    path = device_plugins.parent.joinpath(*SOCKET_PARTS)
    pod_resources.devices = {GPU: ["a", "b"], "other.com/x": ["c"]}
    assert offered(path, GPU) == frozenset(("a", "b"))
    assert offered(path, "nobody.com/y") == frozenset()
    pod_resources.refusals = 1
    with pytest.raises(NoAnswer, match=r"rejected by rate limit \(RESOURCE_EXHAUSTED\)") as refused:
        offered(path, GPU)
    assert refused.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    pod_resources.stop()
    for nobody in (path, device_plugins / "nosuch.sock"):
        with pytest.raises(NoAnswer, match=f"{nobody}: nobody serves there") as unserved:
            offered(nobody, GPU)
        assert unserved.value.code is None


def test_an_answer_longer_than_what_grpc_allows_by_itself_is_read(
    pod_resources: PodResources, device_plugins: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nri_cdi.kubelet.pod_resources.TIMEOUT", SOON)
    pod_resources.devices = {GPU: [str(number) + "x" * 5000 for number in range(1000)]}
    assert len(offered(device_plugins.parent.joinpath(*SOCKET_PARTS), GPU)) == 1000


NEW_KUBELET, WRITTEN = "a new kubelet", "an instance of ours writes down its devices"
SILENT, BUSY, SLOW = None, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED
NOW, BEFORE = (
    f"this node offers {GPU} already",
    f"this node offered {GPU} through another device plugin (devices x) until",
)
Step = tuple[list[str] | grpc.StatusCode | str | float | None, str | None]
"""What the kubelet answers and the objection (empty: one without a reason yet); or what happens, or how many seconds pass."""


class Clock:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


def answers(monkeypatch: pytest.MonkeyPatch, path: pathlib.Path, answer: list[str] | grpc.StatusCode | None) -> None:
    """Have the kubelet answer so."""

    def offers(_path: pathlib.Path, _resource: str) -> frozenset[str]:
        if isinstance(answer, list):
            return frozenset(answer)
        raise NoAnswer(f"{path}: no answer", answer)

    monkeypatch.setattr(elsewheres, "offered", offers)


@pytest.mark.parametrize(
    ("ours", "steps"),
    [
        pytest.param(
            [], [([], None), (["x"], ""), (["x"], NOW), (["x"], NOW), ([], None)], id="another plugin, and its end"
        ),
        pytest.param(["x"], [(["x", "y"], None)], id="an instance of ours"),
        pytest.param([], [(["x"], ""), (WRITTEN, None), (["x"], None)], id="one of ours that has just registered"),
        pytest.param(
            [],
            [
                (["x"], ""),
                (["x"], NOW),
                (NEW_KUBELET, None),
                ([], BEFORE),
                (SILENT, BEFORE),
                (RETURN, None),
                ([], None),
            ],
            id="a kubelet that forgot it, and it does not come back",
        ),
        pytest.param(
            [],
            [(["x"], ""), (["x"], NOW), (NEW_KUBELET, None), ([], BEFORE), (["x"], NOW), ([], None)],
            id="a kubelet that forgot it, and it comes back and ends",
        ),
        pytest.param(
            [],
            [(["x"], ""), (["x"], NOW), (NEW_KUBELET, None), ([], BEFORE), (WRITTEN, None), ([], None)],
            id="a kubelet that forgot what turns out to be ours",
        ),
        pytest.param([], [([], None), (NEW_KUBELET, None), ([], None)], id="a new kubelet that never had one"),
        pytest.param([], [(["x"], ""), (["x"], NOW), (SILENT, NOW), (BUSY, NOW)], id="a kubelet that says no more"),
        pytest.param([], [(SILENT, None)], id="a kubelet that does not say"),
        pytest.param([], [(["x"], ""), (SILENT, NOW)], id="a kubelet that said it once"),
        pytest.param([], [(SLOW, None)], id="a kubelet that says it too late"),
        pytest.param([], [(BUSY, ""), (0.9, None), (BUSY, ""), (["x"], ""), (["x"], NOW)], id="a busy kubelet"),
        pytest.param([], [(BUSY, ""), (1.0, None), (BUSY, None), (BUSY, None)], id="a kubelet that stays busy"),
        pytest.param(
            [], [(BUSY, ""), (0.9, None), ([], None), (BUSY, ""), (0.9, None), (BUSY, "")], id="busy now and then"
        ),
    ],
)
def test_a_resource_is_elsewhere_while_another_plugin_offers_it(
    monkeypatch: pytest.MonkeyPatch, device_plugins: pathlib.Path, ours: list[str], steps: list[Step]
) -> None:
    path, clock, known = device_plugins / "x", Clock(), set(ours)
    path.touch()
    monkeypatch.setattr(elsewheres, "time", clock)
    elsewhere = Elsewhere(path, GPU, lambda: frozenset(known))
    for what, expected in steps:
        match what:
            case "a new kubelet":
                path.rename(device_plugins / "old")
                path.touch()
            case "an instance of ours writes down its devices":
                known.add("x")
            case float():
                clock.now += what
            case list() | grpc.StatusCode() | None:
                answers(monkeypatch, path, what)
                found = elsewhere()
                assert (found is None) == (expected is None)
                assert found is None or (bool(found.why), str(expected) in found.why) == (bool(expected), True)


def test_a_registration_without_an_answer_is_said_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, log: Log
) -> None:
    answers(monkeypatch, tmp_path, SILENT)
    elsewhere = Elsewhere(tmp_path, GPU, frozenset)
    assert [elsewhere() for _ in range(3)] == [None] * 3
    assert log.lines == [
        f"{GPU}: registering without knowing whether another device plugin offers it already: {tmp_path}: no answer"
    ]


OURS, THEIRS, NOBODYS = Counted.OURS, Counted.THEIRS, Counted.NOBODYS


@pytest.mark.parametrize(
    ("healthy", "steps"),
    [
        pytest.param(True, [(["x"], OURS), (["x"], THEIRS), (["x"], THEIRS)], id="another plugin, seen twice"),
        pytest.param(True, [(["x"], OURS), (["d0"], OURS), (["x"], OURS)], id="only in passing"),
        pytest.param(True, [(["x", "d0"], OURS), (["x", "d0"], OURS)], id="devices of an instance of ours"),
        pytest.param(True, [([], OURS), ([], NOBODYS), (["d0"], NOBODYS), (["d0"], OURS)], id="none, and ours again"),
        pytest.param(False, [([], OURS), ([], OURS)], id="none, and ours are not healthy"),
        pytest.param(True, [(["x"], OURS), (["x"], THEIRS), (None, THEIRS), (None, OURS)], id="a kubelet that ends"),
        pytest.param(
            True, [(["x"], OURS), (["x"], THEIRS), (BUSY, THEIRS), (SLOW, THEIRS), (BUSY, THEIRS)], id="a busy kubelet"
        ),
        pytest.param(
            True, [(["x"], OURS), (BUSY, OURS), (BUSY, OURS), (["x"], THEIRS)], id="busy before it is seen again"
        ),
    ],
)
def test_whose_devices_the_kubelet_counts_is_believed_when_it_is_seen_twice(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: pathlib.Path,
    *,
    healthy: bool,
    steps: list[tuple[list[str] | grpc.StatusCode | None, Counted]],
) -> None:
    monkeypatch.setattr(elsewheres, "ASK", 0.0)
    monkeypatch.setattr(elsewheres, "ASK_AGAIN", 0.0)
    count = Count(tmp_path / "x", GPU, lambda: {"d0": healthy})
    for answer, counted in steps:
        answers(monkeypatch, tmp_path, answer)
        assert count() is counted


def test_while_all_is_well_the_kubelet_is_not_asked_all_the_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    asked: list[str] = []

    def offers(_path: pathlib.Path, resource: str) -> frozenset[str]:
        asked.append(resource)
        return frozenset({"d0"})

    monkeypatch.setattr(elsewheres, "offered", offers)
    count = Count(tmp_path / "x", GPU, lambda: {"d0": True})
    assert [count() for _ in range(5)] == [OURS] * 5
    assert asked == [GPU]


DEVICES = tuple(
    Recalled(
        Candidate(
            f"{GPU}={i}",
            GPU,
            str(i),
            "/etc/cdi/a.yaml",
            (DeviceNode(f"/dev/x{i}", type="c", major=9, minor=i),) if i else (),
            interfaces=("eth1",) if i == 1 else (),
        ),
        healthy=i != 1,
        defined=i != 2,
        had=(DeviceNode("/dev/before", type="c", major=9, minor=5), DeviceNode("/dev/y")) if i == 1 else (),
    )
    for i in range(3)
)


def test_devices_and_their_health_are_recalled_by_the_next_process(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "gpu.json"
    first = Memory(path, GPU, "boot-1")
    assert (first.recalled, first.same_boot) == ((), False)
    first.keep(DEVICES)
    again = Memory(path, GPU, "boot-1")
    assert (again.recalled, again.same_boot) == (DEVICES, True)
    assert (Memory(path, GPU, "boot-2").recalled, Memory(path, GPU, "boot-2").same_boot) == (DEVICES, False)
    assert Memory(path, "other.com/kind", "boot-1").recalled == ()
    assert [one.name for one in tmp_path.iterdir()] == ["gpu.json"]


def _with_nodes(nodes: object) -> str:
    said = {"file": "f", "healthy": True, "nodes": nodes}
    return json.dumps({"format": 1, "kind": GPU, "boot": "b", "devices": {"0": said}})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"format": 1}',
        f'{{"format": 1, "kind": "{GPU}", "devices": [1]}}',
        "[" * 100_000,
        f'{{"format": 1, "kind": "{GPU}", "boot": "b", "devices": {{"\\ud800": {{"file": "f", "healthy": true}}}}}}',
        *map(
            _with_nodes,
            (
                5,
                [["/dev/x", "c", float("inf"), 0]],
                [5],
                [["/dev/x"]],
                [["/dev/x", "c", "many", 0]],
                [["/dev/x", "c", None, 0]],
            ),
        ),
    ],
)
def test_a_memory_that_cannot_be_read_is_said_and_written_anew(tmp_path: pathlib.Path, log: Log, text: str) -> None:
    path = tmp_path / "gpu.json"
    path.write_text(text)
    memory = Memory(path, GPU, "boot")
    assert memory.recalled == ()
    assert log.count(f"{path}: what was advertised before cannot be read, so it is not known") == 1
    memory.keep(DEVICES)
    assert Memory(path, GPU, "boot").recalled == DEVICES


def test_a_memory_of_a_later_format_is_left_unread(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "gpu.json"
    path.write_text(json.dumps({"format": 2, "kind": GPU, "boot": "boot", "devices": {"0": "?"}}))
    assert Memory(path, GPU, "boot").recalled == ()


def test_the_ids_that_another_process_writes_down_are_read_at_each_question(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "gpu.json"
    memory, other = Memory(path, GPU, "boot"), Memory(path, GPU, "boot")
    assert memory.ids() == frozenset()
    other.keep(DEVICES[:2])
    assert memory.ids() == {"0", "1"}
    later = Memory(path, GPU, "boot")
    for text in ("{", "[]", f'{{"kind": "{NIC}", "devices": {{"2": {{}}}}}}'):
        path.write_text(text)
        assert not memory.ids()
        assert later.ids() == {"0", "1"}


def test_a_memory_that_somebody_removed_is_written_again(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "gpu.json"
    memory = Memory(path, GPU, "boot")
    assert not memory.is_lost()
    memory.keep(DEVICES)
    path.unlink()
    assert memory.is_lost()
    memory.keep(DEVICES)
    assert Memory(path, GPU, "boot").recalled == DEVICES


def test_a_memory_that_cannot_be_written_is_said_once(tmp_path: pathlib.Path, log: Log) -> None:
    memory = Memory(tmp_path / "nosuch" / "gpu.json", GPU, "boot")
    memory.keep(DEVICES)
    memory.keep(DEVICES)
    assert log.count("cannot be written, so the devices are not known after a boot") == 1
