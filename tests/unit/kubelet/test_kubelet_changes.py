"""What the log says of a step from one inventory to the next."""

from __future__ import annotations

import pytest

from nri_cdi.kubelet.changes import Change, changes, omissions
from nri_cdi.kubelet.identity import Omission
from nri_cdi.kubelet.told import Device, Resource

GPU = "device.example.com/gpu"


@pytest.mark.parametrize(
    ("reasons", "lines"),
    [
        pytest.param(
            [f"/dev/mock/device_{number} is not there" for number in range(1000)],
            [
                (
                    "device_0, device_1, device_2, device_3, device_4 and 995 more: /dev/mock/device_0 is not there "
                    "(device_0; the others likewise)"
                )
            ],
            id="alike but for the path",
        ),
        pytest.param(
            [f"/dev/mock/device_{number} is not there" for number in range(3)],
            [f"device_{number}: /dev/mock/device_{number} is not there" for number in range(3)],
            id="a handful",
        ),
        pytest.param(
            [f"advertised as {', '.join([f'{GPU}={number}'] * (number % 3 + 1))}" for number in range(6)],
            [
                (
                    "device_0, device_1, device_2, device_3, device_4 and 1 more: "
                    f"advertised as {GPU}=0 (device_0; the others likewise)"
                )
            ],
            id="alike but for the names",
        ),
        pytest.param(
            ["a", "b", "c", "d", "e", "f", "f", "a"],
            [
                "device_0, device_7: a",
                "device_1: b",
                "device_2: c",
                "device_3: d",
                "device_4, device_5, device_6: e (device_4; the others for other reasons)",
            ],
            id="more reasons than lines",
        ),
    ],
)
def test_many_reasons_are_a_handful_of_lines(reasons: list[str], lines: list[str]) -> None:
    devices = [(f"device_{number}", reason) for number, reason in enumerate(reasons)]

    def told(*, healthy: bool) -> tuple[Resource, ...]:
        return (Resource(GPU, GPU, tuple(Device(name, f"{GPU}={name}", healthy, reason) for name, reason in devices)),)

    for healthy, what in ((False, "unhealthy"), (True, "healthy while they settle, their containers are held")):
        said = changes((), told(healthy=healthy))[1:]
        assert said == tuple(Change(f"{GPU}: {what}: {line}", alarming=True) for line in lines)
    left_out = {name: Omission(reason) for name, reason in devices}
    assert omissions({}, left_out) == tuple(Change(f"not advertised: {line}") for line in lines)


def test_a_resource_without_devices_says_what_it_waits_for() -> None:
    (said,) = changes((), (Resource(GPU, GPU),))
    assert said == Change(
        f"{GPU}: no devices: not registered until a CDI spec defines a device of kind {GPU} (capitals count) "
        "that the configuration lets through"
    )
