from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab import cri_api as api
from lab import mock
from lab.config import native_cdi_always
from lab.cri import CriError
from lab.trouble import LabError

if TYPE_CHECKING:
    from pathlib import Path

    from lab.node import Node


def test_a_container_runs_with_its_environment_mounts_and_annotations(node: Node, tmp_path: Path) -> None:
    (tmp_path / "word").write_text("seen")
    mount = api.Mount(container_path="/given", host_path=str(tmp_path))
    container = node.pod().container(env={"A": "b"}, mounts=[mount], annotations={"x.example/y": "z"}).start()

    assert container.running()
    assert container.exec("sh", "-c", "echo $A; cat /given/word") == "b\nseen"
    assert container.status().annotations["x.example/y"] == "z"
    assert "A=b" in container.spec()["process"]["env"]


def test_the_node_is_of_the_series_that_was_asked_for(node: Node) -> None:
    assert node.cri.version().runtime_version.lstrip("v").startswith(f"{node.series}.")


def test_the_runtimes_own_cdi_is_off_or_has_no_specs(node: Node) -> None:
    mock.create(node.path("/"))
    key = {"cdi.k8s.io/x": mock.name(1)}
    if native_cdi_always(node.series):
        with pytest.raises(CriError, match="unresolvable CDI devices"):
            node.pod().container(annotations=key)
    else:
        assert node.pod().container(annotations=key).start().sh("ls /dev/mock")[0] != 0
        assert "enable_cdi = false" in node.config_text


def test_containers_live_on_over_a_restart_and_a_crash_of_containerd(node: Node) -> None:
    container = node.pod().container().start()
    for stop in (node.stop_daemon, node.kill_daemon):
        stop()
        with pytest.raises(CriError):
            node.cri.version()
        node.start_daemon()
        assert container.exec("echo", "alive") == "alive\n"


def test_a_command_that_fails_inside_says_where_and_why(node: Node) -> None:
    container = node.pod().container().start()
    with pytest.raises(LabError, match=r"cat /nosuch in <Container .* ended with 1: .*No such file"):
        container.exec("cat", "/nosuch")


def test_the_runtimes_refusal_arrives_with_its_code_and_text(node: Node) -> None:
    with pytest.raises(CriError, match="nosuch") as caught:
        node.pod(runtime_handler="nosuch")
    assert "nosuch" in caught.value.details


def test_the_nri_socket_is_reached_from_outside_and_from_inside(node: Node) -> None:
    assert node.nri_socket.is_socket()
    assert node.sandbox.run("ls", "/var/run/nri/nri.sock") == "/var/run/nri/nri.sock\n"
