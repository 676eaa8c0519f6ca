"""The systemd units: their installation, and that the agent can do without what they forbid. They themselves run in the kind node, which has systemd."""

from __future__ import annotations

import configparser
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lab import mock
from lab.sandbox import Sandbox
from lab.trouble import LabError

from nri_cdi import __version__
from nri_cdi.agent import READY_LIMIT, READY_LIMIT_NRI

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).resolve().parent.parent.parent
PYTHON = Path(sys.base_prefix, "bin/python3")
"""The interpreter without this environment."""
UNITS = ("nri-cdi-nri@10.service", "nri-cdi-nri@11.service", "nri-cdi-device-plugin.service")

SETPRIORITY = {"x86_64": 141, "aarch64": 140}
CONFINED = """
import ctypes, os, struct, sys
number = int(sys.argv[1])
allow, refuse = 0x7FFF0000, 0x00050001                          # SECCOMP_RET_ALLOW; SECCOMP_RET_ERRNO with EPERM
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, refuse), (0x06, 0, 0, allow)]
code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code)))
prctl = ctypes.CDLL(None, use_errno=True).prctl
for words in ((38, 1, 0, 0, 0), (22, 2, ctypes.byref(program), 0, 0)):  # PR_SET_NO_NEW_PRIVS; PR_SET_SECCOMP with a filter
    if prctl(*words):
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
try:
    os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0))
except PermissionError:
    pass
else:
    sys.exit("the filter does not hold")
from nri_cdi.cdi.look import NOTHING_KNOWN
from nri_cdi.host.reader import Reader
reader = Reader((sys.argv[2],))
reader.ask(NOTHING_KNOWN)
print(reader.answer().files)
reader.end()
"""


@pytest.mark.skipif(platform.machine() not in SETPRIORITY, reason="the number of the system call is not known here")
@pytest.mark.parametrize("first", [0, -5], ids=["as ever", "before others"])
def test_specs_are_read_where_the_priority_of_a_process_may_not_be_touched(tmp_path: Path, first: int) -> None:
    (tmp_path / "mock.yaml").write_text(mock.spec())
    command = ["nice", f"--adjustment={first}", sys.executable, "-c", CONFINED]
    said = subprocess.run(  # noqa: S603  # ours
        [*command, str(SETPRIORITY[platform.machine()]), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
    )
    assert said.returncode == 0, said.stderr
    assert "mock.yaml" in said.stdout


def directives(name: str) -> dict[str, dict[str, str]]:
    """The sections of a unit; of what is set more than once the last."""
    unit = configparser.ConfigParser(strict=False, interpolation=None, delimiters="=")
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # the documented way to keep names as they are
    unit.read(CHECKOUT / "deploy/systemd" / name)
    return {section: dict(unit[section]) for section in unit.sections()}


@pytest.mark.parametrize(
    ("name", "limit"),
    [("nri-cdi-nri@.service", READY_LIMIT_NRI), ("nri-cdi-device-plugin.service", READY_LIMIT)],
)
def test_the_kubelet_starts_when_a_unit_says_that_it_is_ready_which_it_says_before_it_would_be_ended(
    name: str, limit: float
) -> None:
    unit, service = directives(name)["Unit"], directives(name)["Service"]
    assert (service["Type"], service["NotifyAccess"]) == ("notify", "main")
    assert "kubelet.service" in unit["Before"].split()
    assert "AF_UNIX" in service["RestrictAddressFamilies"].split()
    assert float(service["TimeoutStartSec"].removesuffix("s")) >= 2 * limit


def test_units_that_fail_again_and_again_leave_the_kubelet_a_moment_to_start() -> None:
    """It starts in a moment in which no start of theirs is under way: when the kubelet half has failed while the others, which fail sooner, still pause."""
    pause = directives("nri-cdi-nri@.service")["Service"]["RestartSec"]
    assert float(pause.removesuffix("s")) >= 1


def test_a_directory_that_a_unit_makes_itself_need_not_be_there_before() -> None:
    service = directives("nri-cdi-device-plugin.service")["Service"]
    made = service["ExecStartPre"].split("mkdir -p ")[1].split()
    assert service["ReadWritePaths"].split() == [f"-{directory}" for directory in made]


def install(sandbox: Sandbox, *arguments: str) -> str:
    """Run deploy/systemd/install in the sandbox, which has /opt and /etc of its own, and no systemd to tell of it."""
    path = f"/opt/stand-in:{os.environ['PATH']}"
    return sandbox.run(
        "env", f"PATH={path}", f"PYTHON={PYTHON}", f"{CHECKOUT}/deploy/systemd/install", *arguments, timeout=100
    )


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as it:
        stand_in = it.path("/opt/stand-in/systemctl")
        stand_in.parent.mkdir(parents=True)
        stand_in.write_text('#!/bin/sh\necho "$@" >>/opt/stand-in/said\n')
        stand_in.chmod(0o755)
        yield it


def environments(sandbox: Sandbox) -> set[str]:
    return {one.name for one in sandbox.path("/opt/nri-cdi").glob("env.*")}


@pytest.mark.timeout(300)
def test_the_documented_command_installs_upgrades_in_one_step_and_removes(sandbox: Sandbox) -> None:
    install(sandbox)
    said = sandbox.run("/opt/nri-cdi/bin/nri-cdi", "--version")
    assert said.strip() == f"nri-cdi {__version__}"
    assert "device.example.com/gpu" in sandbox.path("/etc/nri-cdi/settings.yaml").read_text()
    (first,) = environments(sandbox)

    sandbox.path("/etc/nri-cdi/settings.yaml").write_text("resource: [vendor.com/gpu]\n")
    install(sandbox)
    # what runs from the environment before still finds its files
    assert len(environments(sandbox)) == 2
    assert first in environments(sandbox)
    assert sandbox.run("readlink", "/opt/nri-cdi/bin/nri-cdi").split("/")[3] != first
    assert sandbox.path("/etc/nri-cdi/settings.yaml").read_text() == "resource: [vendor.com/gpu]\n"
    install(sandbox)
    assert len(environments(sandbox)) == 2
    assert first not in environments(sandbox)

    install(sandbox, "--remove")
    assert not sandbox.path("/opt/nri-cdi").exists()
    assert not list(sandbox.path("/etc/systemd/system").glob("nri-cdi*"))
    words = sandbox.path("/opt/stand-in/said").read_text()
    assert words.splitlines()[-2:] == [f"disable --now {' '.join(UNITS)}", "daemon-reload"]


def test_an_installation_that_fails_leaves_what_is_there(sandbox: Sandbox) -> None:
    there = sandbox.path("/opt/nri-cdi/bin/nri-cdi")
    there.parent.mkdir(parents=True)
    there.symlink_to("/opt/nri-cdi/env.old/bin/nri-cdi")
    with pytest.raises(LabError):
        sandbox.run(
            "env",
            "PIP_INDEX_URL=http://127.0.0.1:1/",
            "PIP_RETRIES=0",
            f"PYTHON={PYTHON}",
            f"{CHECKOUT}/deploy/systemd/install",
            timeout=100,
        )
    assert there.readlink() == Path("/opt/nri-cdi/env.old/bin/nri-cdi")
    assert environments(sandbox) == set()


def test_to_remove_what_is_not_there_is_no_failure(sandbox: Sandbox) -> None:
    install(sandbox, "--remove")
    assert "disable" not in sandbox.path("/opt/stand-in/said").read_text()


def test_the_program_stays_while_containerd_starts_it_itself(sandbox: Sandbox) -> None:
    program, plugin = sandbox.path("/opt/nri-cdi/bin/nri-cdi"), sandbox.path("/opt/nri/plugins/10-nri-cdi")
    for one in (program, plugin):
        one.parent.mkdir(parents=True)
        one.touch()
    with pytest.raises(LabError, match="first deploy/pre-installed/install --remove"):
        install(sandbox, "--remove")
    assert program.exists()


@pytest.mark.parametrize(
    ("version", "taken"),
    [("1.7.24~ds1", False), ("v2.0.5", False), ("2.1.9+unknown", True), ("v2.10.1", True), (None, False)],
)
def test_a_plugin_that_containerd_starts_itself_is_installed_for_2_1_and_newer_only(
    sandbox: Sandbox, version: str | None, *, taken: bool
) -> None:
    sandbox.path("/opt/stand-in/systemctl").write_text("#!/bin/sh\nexit 3\n")  # no unit is active
    containerd, program = sandbox.path("/opt/stand-in/containerd"), sandbox.path("/opt/nri-cdi/bin/nri-cdi")
    program.parent.mkdir(parents=True)
    for one in (containerd, program):
        one.write_text(f"#!/bin/sh\necho containerd github.com/containerd/containerd {version}\n")
        one.chmod(0o755)
    if version is None:
        containerd.unlink()
    plugin = sandbox.path("/opt/nri/plugins/10-nri-cdi")
    command = ("env", f"PATH=/opt/stand-in:{os.environ['PATH']}", "CONTAINERD=/opt/stand-in/containerd")
    if taken:
        sandbox.run(*command, f"{CHECKOUT}/deploy/pre-installed/install")
        assert plugin.exists()
    else:
        with pytest.raises(LabError, match=r"2\.1 or newer"):
            sandbox.run(*command, f"{CHECKOUT}/deploy/pre-installed/install")
        assert not plugin.exists()
