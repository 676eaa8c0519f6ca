"""What the agent says of its own state: alive, ready, and in numbers. Text for people and for Prometheus.

Alive asks our own threads and nobody else: a runtime or a kubelet that is down is no reason to restart the agent. Ready says whether the
runtime and the kubelet count on us now, and if not, why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nri_cdi import __version__

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Mapping

    from .http import Page


def pages(
    threads: Callable[[], Iterable[threading.Thread]], problems: Mapping[str, Callable[[], str | None]]
) -> dict[str, Page]:
    """/healthz, /readyz and /metrics of an agent with these threads and these parts: for each of them, why it is not ready, or None."""

    def healthz() -> tuple[int, str]:
        ended = [thread.name for thread in threads() if not thread.is_alive()]
        return (503, f"ended: {', '.join(ended)}\n") if ended else (200, "ok\n")

    def readyz() -> tuple[int, str]:
        said = {part: problem() for part, problem in problems.items()}
        status = 503 if any(said.values()) else 200
        return status, "".join(f"{part}: {problem or 'ready'}\n" for part, problem in said.items())

    def metrics() -> tuple[int, str]:
        lines = [
            "# HELP nri_cdi_build_info The version of nri-cdi.",
            "# TYPE nri_cdi_build_info gauge",
            f'nri_cdi_build_info{{version="{__version__}"}} 1',
            "# HELP nri_cdi_ready Whether a part is ready: synchronized with the runtime, registered with the kubelet.",
            "# TYPE nri_cdi_ready gauge",
            *(f'nri_cdi_ready{{part="{part}"}} {int(problem() is None)}' for part, problem in problems.items()),
        ]
        return 200, "".join(f"{line}\n" for line in lines)

    return {"/healthz": healthz, "/readyz": readyz, "/metrics": metrics}
