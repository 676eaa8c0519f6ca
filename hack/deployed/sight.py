"""What a container sees of the mock devices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lab import mock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deployed.reached import Reached

_SCRIPT: Final = """
for f in /dev/mock/*; do echo "dev ${f##*/}"; done
for f in /mock/lib/*; do echo "lib ${f##*/} $(cat "$f" 2>&1)"; done
for f in /dev/mock/*; do echo "open ${f##*/} $(dd if="$f" of=/dev/null count=0 2>&1)"; done
env | grep ^MOCK_ | sed 's/^/env /'
"""
_REACHED: Final = "No such device or address"
"""What opening a device without a driver says when the container may open it."""


@dataclass(frozen=True, slots=True)
class Sight:
    """Names in /dev/mock and /mock/lib, the variables MOCK_..., and what is not as the CDI spec says."""

    dev: tuple[str, ...]
    lib: tuple[str, ...]
    env: tuple[str, ...]
    wrong: tuple[str, ...]


def look(cluster: Reached, pod: str) -> Sight:
    """Look into the pod's container."""
    rows = [line.split(" ", 2) for line in cluster.exec(pod, "sh", "-c", _SCRIPT).splitlines()]
    wrong = []
    for kind, name, *rest in rows:
        text = rest[0] if rest else ""
        number = name.removesuffix(".so").removeprefix("device_")
        if kind == "lib" and number.isdigit() and text != mock.library(int(number)).strip():
            wrong.append(f"the library {name} says {text!r}")
        if kind == "open" and name != "*" and _REACHED not in text:
            wrong.append(f"opening {name} says {text!r}")

    def of(kind: str) -> tuple[str, ...]:
        return tuple(sorted(row[1] for row in rows if row[0] == kind and row[1] != "*"))

    return Sight(of("dev"), of("lib"), of("env"), tuple(wrong))


def right(sight: Sight, count: int) -> bool:
    """Whether it is exactly what the CDI spec says of `count` devices: nodes that open, their libraries, their variables."""
    return (
        len(sight.dev) == count
        and not sight.wrong
        and sight.lib == tuple(f"{name}.so" for name in sight.dev)
        and sight.env
        == tuple(
            sorted(
                ["MOCK_DRIVER=1", *(f"MOCK_DEVICE_{name[7:]}=/dev/mock/{name}" for name in sight.dev)] if count else []
            )
        )
    )


def braces(names: Iterable[str]) -> str:
    """`device_{0,1}` for device_0 and device_1; `-` for none."""
    numbers = [name.removesuffix(".so").removeprefix("device_") for name in names]
    return f"device_{{{','.join(numbers)}}}" if numbers else "-"
