"""The command line: exit statuses, sentences, and what a serving process imports. Each call is a process of its own where that matters."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import pytest

from nri_cdi import __version__, cli
from nri_cdi.allocation import guarded_key_name, own_key_name
from nri_cdi.digest import digest
from nri_cdi.telemetry import set_up

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMANDS = ("run", "nri", "device-plugin", "allocate", "status")


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  # programs of these tests
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", **environment},
    )


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of `nri-cdi` with these arguments."""
    try:
        status = cli.main(arguments)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_the_module_is_the_program() -> None:
    done = python("-m", "nri_cdi", "--version")
    assert (done.returncode, done.stdout) == (0, f"nri-cdi {__version__}\n")


@pytest.mark.parametrize("command", [(), *((command,) for command in COMMANDS)], ids=str)
def test_the_help_of_each_command_has_an_example(capsys: pytest.CaptureFixture[str], command: tuple[str, ...]) -> None:
    status, out, _ = call(capsys, *command, "--help")
    assert status == 0
    assert f"Example: {' '.join(('nri-cdi', *command))} " in out


def test_the_help_shows_each_default_as_it_would_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = call(capsys, "run", "--help")
    shown = re.findall(r"\(default: ([^)]*)\)", " ".join(out.split()))
    assert {"on", "off", "0", "60", "120", "/etc/cdi /var/run/cdi"} <= set(shown)
    assert not [default for default in shown if default in {"True", "False"} or default.endswith(".0")]


WRONG = {
    "no command": ((), "the following arguments are required: COMMAND"),
    "an unknown command": (("nir",), "did you mean nri?"),
    "an unknown flag": (("nri", "--cdi-dirs", "/x"), "unrecognized arguments: --cdi-dirs /x; did you mean --cdi-dir?"),
    "an unknown flag with a value": (("run", "--plugin-idx=10"), "did you mean --plugin-index?"),
    "an abbreviated flag": (("nri", "--nri-sock", "/x"), "did you mean --nri-socket?"),
    "a flag without a value": (("nri", "--cdi-dir"), "--cdi-dir: expected one argument"),
    "a wrong value": (("nri", "--plugin-index", "7"), '--plugin-index: "7" is not right; write two digits, such as 10'),
    "nothing to advertise": (("run",), "name at least one kind, such as --resource device.example.com/gpu"),
    "nothing to advertise by half": (("device-plugin",), "name at least one kind"),
    "an unqualified name": (("allocate", "gpu0"), "it must be vendor/class=device"),
    "no name": (("allocate",), "NAME"),
}


@pytest.mark.parametrize(("arguments", "says"), WRONG.values(), ids=WRONG)
def test_wrong_use_is_status_2_and_a_sentence_that_says_what_to_write(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    status, out, err = call(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("nri-cdi")
    assert says in err


def test_the_environment_is_status_3(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, out, err = call(capsys, "nri", "--config", str(tmp_path / "none.yaml"))
    assert (status, out) == (3, "")
    assert "none.yaml: No such file or directory" in err


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(  # our program
            [sys.executable, "-m", "nri_cdi", "allocate", "v.com/d=0"],
            stdout=write,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


# -- allocate


def test_allocate_gives_the_answer_of_the_kubelet_half(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = call(capsys, "allocate", "v.com/d=1", "w.com/e=7", "v.com/d=0", "-o", "json")
    answer = json.loads(out)
    assert (status, err) == (0, "")
    assert list(answer) == ["annotations", "mounts", "envs", "devices"]
    assert (answer["envs"], answer["devices"]) == ({}, [])
    assert list(answer["annotations"].values()) == ["v.com/d=0,v.com/d=1", "w.com/e=7"]
    key_names = [own_key_name(key, "cdi.k8s.io/") for key in answer["annotations"]]
    places = [mount["container_path"] for mount in answer["mounts"]]
    assert [guarded_key_name(place) for place in places] == [None, *key_names]
    assert places[0] == "/.nri-cdi"
    assert {(mount["host_path"], mount["read_only"]) for mount in answer["mounts"]} == {("/dev/null", True)}


def test_allocate_takes_the_prefix_and_the_guard_from_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = call(
        capsys, "allocate", "v.com/d=0", "--annotation-prefix", "x.example.com/", "--guard", "off", "-o", "json"
    )
    answer = json.loads(out)
    assert [key.partition("/")[0] for key in answer["annotations"]] == ["x.example.com"]
    assert answer["mounts"] == []


def test_allocate_for_people_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = call(capsys, "allocate", "v.com/d=0")
    kinds = [line.split()[0] for line in out.splitlines()]
    assert kinds == ["annotation", "mount", "mount"]


# -- what is imported


HEAVY = ("grpc", "yaml", "hashlib", "_hashlib", "ssl", "asyncio", "difflib")
SERVING = f"""
import sys, threading
from nri_cdi import agent, cli
def stop_at_once(settings, *, nri, kubelet, inherited):
    from nri_cdi.host.specs import Specs
    half = agent.NriHalf(settings, Specs(settings.cdi_dir))
    assert half.check(()) is not None
    import nri_cdi.host.slot, nri_cdi.readiness
    print(settings.plugin_name, *[name for name in {HEAVY} if name in sys.modules])
    return 0
agent.run = stop_at_once
sys.exit(cli.main(sys.argv[1:]))
"""


def test_the_serving_process_loads_nothing_that_it_does_not_use_even_with_a_settings_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("plugin-name: from-the-file\n")
    done = python("-c", SERVING, "nri", "--config", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["from-the-file"]


@pytest.mark.parametrize(
    "module", ["nri_cdi.cdi", "nri_cdi.nri", "nri_cdi.inject", "nri_cdi.settings", "nri_cdi.readiness"]
)
def test_a_library_loads_nothing_heavy(module: str) -> None:
    done = python("-c", f"import sys, {module}; print(*[name for name in {HEAVY} if name in sys.modules])")
    assert (done.returncode, done.stdout.split()) == (0, [])


# -- log lines and digests


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """The project's logger; it and gRPC's are put back as they were."""
    roots = [logging.getLogger(name) for name in ("nri_cdi", "grpc")]
    before = [(root.handlers, root.propagate, root.level) for root in roots]
    yield logging.getLogger("nri_cdi.room")
    for root, (handlers, propagate, level) in zip(roots, before, strict=True):
        root.handlers, root.propagate = handlers, propagate
        root.setLevel(level)


def test_a_log_record_is_one_line_whatever_its_text(logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    set_up("info", "text")
    logger.warning("two\nlines and \x1b[31mred\r")
    logger.debug("not shown")
    try:
        raise ValueError("why")
    except ValueError:
        logger.exception("failed")
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("Z WARNING room: two | lines and [31mred")
    assert "ERROR   room: failed | Traceback" in second
    assert second.endswith("ValueError: why")


def test_a_log_record_is_an_object_for_programs(logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    set_up("debug", "json")
    logger.debug("two\nlines")
    entry = json.loads(capsys.readouterr().err)
    assert (entry["level"], entry["room"], entry["message"]) == ("debug", "room", "two\nlines")


@pytest.mark.usefixtures("logger")
def test_what_grpc_logs_of_its_own_is_in_the_form_of_our_log(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_request: bytes, _context: grpc.ServicerContext) -> bytes:
        raise ZeroDivisionError

    set_up("info", "json")
    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {"Do": grpc.unary_unary_rpc_method_handler(fail)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.Service", methods),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            do: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/a.Service/Do")
            with pytest.raises(grpc.RpcError):
                do(b"", timeout=20)
        server.stop(None).wait()
    entry = json.loads(capsys.readouterr().err)
    assert (entry["level"], entry["room"]) == ("error", "grpc")
    assert "ZeroDivisionError" in entry["exception"]


def test_a_digest_keeps_its_parts_apart_and_takes_any_text() -> None:
    assert digest("a", "bc") != digest("ab", "c") != digest("abc")
    assert digest(1, None) == digest("1", "None")
    assert len(digest("\ud800", "\udcff")) == 16
