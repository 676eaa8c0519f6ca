"""Wrong settings of the kubelet half end the command with status 2 and a sentence, before anything is served."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

import nri_cdi

ROOT = pathlib.Path(nri_cdi.__file__).parent.parent

GPU, NIC = "device.example.com/gpu", "vendor.com/nic"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "nothing to advertise"),
        (["--resource", "Vendor.com/gpu"], "give it another name: --resource Vendor.com/gpu=RESOURCE"),
        (["--resource", GPU, "--resource", f"{GPU}={NIC}"], f"the kind {GPU} cannot be two resources"),
        (["--resource", GPU, "--resource", f"{NIC}={GPU}"], f"the resource {GPU} cannot be two kinds"),
        (["--resource", "gpu"], "CDI kinds, such as"),
        (["--resource", GPU, "--registration", "both"], "kubelet.sock or plugins-registry"),
        (["--resource", GPU, "--preferred", "random"], "packed, spread or in-order"),
        (["--resource", GPU, "--exclude", "all"], "such as nvidia.com/gpu=GPU-* or *=all"),
        (["--resource", GPU, "--settle", "1m"], "seconds, such as 60 or 0.5"),
        (["--resource", GPU, "--unhealthy-after", "-1"], "seconds, such as 60 or 0.5"),
        (["--resource", GPU, "--shared-node", "kfd"], "absolute paths or patterns of them"),
        (
            ["--resource", GPU, "--registration", "plugins-registry", "--kubelet-dir", f"/{'d' * 90}"],
            "a unix socket's path has at most 107: name the resource shorter, --resource KIND=SHORTER-NAME, or choose a shorter --kubelet-dir",
        ),
        (["--resource", f"{'v' * 50}.{'v' * 50}.com/gpu"], "name the resource shorter, --resource KIND=SHORTER-NAME"),
        (["--resource", GPU, "--http", ":99999"], "an address with a port from 1 to 65535"),
    ],
)
def test_a_wrong_setting_is_said_with_what_to_write_instead(arguments: list[str], words: str) -> None:
    command = [sys.executable, "-m", "nri_cdi", "device-plugin", *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603  # our own program
    assert ended.returncode == 2
    assert words in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert ended.stdout == ""
