"""From Allocate's answer to what is in the container: everything that is promised, nothing else, or a refusal that says why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from lab import cri_api as api
from lab import mock
from lab.cri import CriError
from lab.served import allocated, node_spec

from nri_cdi.allocation import GUARD_ROOT, MARK_DOMAIN

if TYPE_CHECKING:
    from lab.pods import Container
    from lab.served import Served

ENXIO = "No such device or address"
"""What opening a mock device answers where the device cgroup lets the open through to the driver that is not there."""

TRACE = "/run/hook-trace"


def seen(container: Container) -> dict[str, list[str]]:
    """What a container sees of the mock devices: nodes, libraries, variables."""
    env = container.exec("env").split()
    return {
        "nodes": container.sh("ls /dev/mock 2>/dev/null")[1].split(),
        "libraries": container.sh("ls /mock/lib 2>/dev/null")[1].split(),
        "env": sorted(line for line in env if line.startswith("MOCK_")),
    }


def of_devices(*numbers: int) -> dict[str, list[str]]:
    """What a container with these mock devices must see."""
    return {
        "nodes": [f"device_{number}" for number in numbers],
        "libraries": [f"device_{number}.so" for number in numbers],
        "env": [f"MOCK_DEVICE_{number}=/dev/mock/device_{number}" for number in numbers] + ["MOCK_DRIVER=1"],
    }


def traces(served: Served) -> list[str]:
    """What the hooks of `traced` have written on the host."""
    path = served.node.path(TRACE)
    return path.read_text().splitlines() if path.exists() else []


def traced(served: Served, kind: str) -> str:
    """A device whose hooks leave a line on the host and a file in the container. Returns its name."""
    served.node.path(TRACE).unlink(missing_ok=True)
    hooks = [
        {
            "hookName": "createRuntime",
            "path": "/bin/sh",
            "args": ["sh", "-c", f"echo $WORD >>{TRACE}"],
            "env": ["WORD=hooked"],
        },
        {"hookName": "startContainer", "path": "/bin/touch", "args": ["touch", "/tmp/hooked"]},
    ]
    served.write_spec("traced.json", node_spec(kind, "a", hooks=hooks))
    return f"{kind}=a"


def test_a_container_runs_with_exactly_the_devices_it_was_allocated(served: Served) -> None:
    _ = served.agent
    container = served.container(served.devices(1, 2)).start()

    assert seen(container) == of_devices(1, 2)
    for number in (1, 2):
        assert container.exec("cat", f"/mock/lib/device_{number}.so") == mock.library(number)
        assert ENXIO in container.sh(f"cat /dev/mock/device_{number}")[1]
        assert ENXIO in container.sh(f"echo >/dev/mock/device_{number}")[1]
    assert "No such file" in container.sh("cat /dev/mock/device_3")[1]
    by_hand = container.sh(f"mknod /tmp/d c {mock.MAJOR} 3 && cat /tmp/d")[1]
    assert "Operation not permitted" in by_hand


def test_the_hooks_of_a_device_run_once(served: Served) -> None:
    name = traced(served, "hooked.example.com/dev")
    _ = served.agent
    container = served.container(served.allocation(name)).start()

    assert traces(served) == ["hooked"]
    assert container.exec("ls", "/tmp/hooked") == "/tmp/hooked\n"


def test_two_allocations_in_one_container_are_both_injected(served: Served) -> None:
    served.write_spec("nic.json", node_spec("nic.example.com/port", "p0", env=["PORT=p0"]))
    _ = served.agent
    both = allocated(served.prefix, [mock.name(3)], ["nic.example.com/port=p0"], [mock.name(4)])
    assert [mount.container_path for mount in both.mounts].count(GUARD_ROOT) == 1
    assert len(both.annotations) == 3
    container = served.container(both).start()

    assert seen(container) == of_devices(3, 4)
    assert container.exec("sh", "-c", "echo $PORT") == "p0\n"
    marks = [key for key in container.spec()["annotations"] if key.startswith(MARK_DOMAIN)]
    assert len(marks) == 3


def test_a_key_of_another_device_plugin_is_injected_without_gate_or_mark(served: Served) -> None:
    _ = served.agent
    key = {f"{served.prefix}other-plugin_3": f"{mock.name(5)},{mock.name(6)}"}
    container = served.container(api.ContainerConfig(annotations=key)).start()

    assert seen(container) == of_devices(5, 6)
    assert [key for key in container.spec()["annotations"] if key.startswith(MARK_DOMAIN)] == []


class Bad(NamedTuple):
    """A spec, an allocation that cannot be honoured, and what the refusal says of it."""

    names: tuple[str, ...]
    reason: str
    says: str
    spec: dict[str, Any] | str | None = None


BAD = {
    "unknown device": Bad((mock.name(99),), "unresolvable-device", "device_99"),
    "unknown kind": Bad(("nobody.example.com/x=y",), "unresolvable-device", "nobody.example.com/x"),
    "one of two": Bad((mock.name(1), mock.name(99)), "unresolvable-device", "device_99"),
    "rejected spec": Bad(
        ("bad.example.com/dev=a",),
        "unresolvable-device",
        "/etc/cdi/bad.yaml",
        node_spec("bad.example.com/dev", "a", deviceNodes=[{"path": "/dev/null", "type": "z"}]),
    ),
    "broken yaml": Bad(
        ("bad.example.com/dev=a",), "unresolvable-device", "/etc/cdi", "kind: bad.example.com/dev\ndevices: [\n"
    ),
    "missing mount source": Bad(
        ("bad.example.com/dev=a",),
        "mount-source-missing",
        "/nosuch/lib.so",
        node_spec(
            "bad.example.com/dev",
            "a",
            mounts=[{"hostPath": "/nosuch/lib.so", "containerPath": "/lib/lib.so", "options": ["ro", "bind"]}],
        ),
    ),
    "missing device node": Bad(
        ("bad.example.com/dev=a",),
        "device-node-missing",
        "/dev/nosuch",
        node_spec("bad.example.com/dev", "a", deviceNodes=[{"path": "/dev/nosuch"}]),
    ),
    "inexpressible": Bad(
        ("bad.example.com/dev=a",),
        "inexpressible",
        "intelRdt",
        {**node_spec("bad.example.com/dev", "a", intelRdt={"closID": "x"}), "cdiVersion": "0.7.0"},
    ),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_what_cannot_be_honoured_is_refused_word_by_word_and_no_container_is_made(served: Served, bad: Bad) -> None:
    if bad.spec is not None:
        served.write_spec("bad.yaml", bad.spec)
    _ = served.agent
    pod = served.node.pod()
    with pytest.raises(CriError) as caught:
        served.container(served.allocation(*bad.names), pod)

    refusal = served.refused_as(caught.value)
    assert refusal.reason == bad.reason
    assert bad.says in refusal.text
    assert f'container "c" of pod "default/{pod.name}"' in refusal.text
    assert served.node.cri.containers(pod.id) == []


def without_mounts(config: api.ContainerConfig) -> api.ContainerConfig:
    """The same allocation without its guard."""
    del config.mounts[:]
    return config


def test_a_malformed_annotation_is_refused(served: Served) -> None:
    _ = served.agent
    config = served.devices(1)
    (key,) = config.annotations
    config.annotations[key] = "no qualified name"
    with pytest.raises(CriError) as caught:
        served.container(config)
    refusal = served.refused_as(caught.value)
    assert refusal.reason == "malformed-annotation"
    assert key in refusal.text


def test_a_guard_whose_key_did_not_arrive_is_refused(served: Served) -> None:
    _ = served.agent
    config = served.devices(1)
    config.annotations.clear()
    with pytest.raises(CriError) as caught:
        served.container(config)
    assert served.refused_as(caught.value).reason == "guard-without-key"


def test_a_key_that_the_pods_author_wrote_is_refused(served: Served) -> None:
    _ = served.agent
    config = without_mounts(served.devices(1))
    pod = served.node.pod(annotations=dict(config.annotations))
    with pytest.raises(CriError) as caught:
        served.container(config, pod)
    assert served.refused_as(caught.value).reason == "smuggled-key"


def test_a_refused_container_is_created_when_its_device_has_come(served: Served) -> None:
    _ = served.agent
    pod = served.node.pod()
    config = served.allocation("late.example.com/dev=a")
    with pytest.raises(CriError, match="unresolvable"):
        served.container(config, pod)
    served.write_spec("late.json", node_spec("late.example.com/dev", "a", env=["LATE=yes"]))
    assert served.container(config, pod).start().exec("sh", "-c", "echo $LATE") == "yes\n"


SPEC = "cdiVersion: 0.6.0\nkind: stamp.example.com/dev\ndevices: [{{name: a, containerEdits: {{env: [STAMP={number}]}}}}]\n"


def by_rename(served: Served, text: str) -> None:
    served.write_spec("stamp.yaml", text)


def by_write_and_close(served: Served, text: str) -> None:
    served.node.path("/etc/cdi/stamp.yaml").write_text(text)


def by_a_new_file(served: Served, text: str) -> None:
    path = served.node.path("/etc/cdi/stamp.yaml")
    path.unlink()
    path.write_text(text)


def test_a_spec_that_was_replaced_right_before_is_honoured_by_the_very_next_creation(served: Served) -> None:
    by_rename(served, SPEC.format(number="none"))
    _ = served.agent
    pod = served.node.pod()
    config = served.allocation("stamp.example.com/dev=a")
    for number, replace in enumerate([by_rename, by_write_and_close, by_a_new_file] * 17):
        replace(served, SPEC.format(number=number))
        # on a busy machine reading takes longer than a creation may: that creation is refused and says so
        container = served.container(config, pod, f"c{number}")
        assert f"STAMP={number}" in container.spec()["process"]["env"]
