"""Pods that come and go while something is done to the agent: each looks for its device, and one that runs without it says so."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Final, Self

from lab import mock
from lab.kube_pods import container, pod
from lab.trouble import LabError, wait_until

if TYPE_CHECKING:
    from types import TracebackType

    from deployed.reached import Reached

_WITHOUT: Final = 3
_LOOK: Final = f'[ "$(ls /dev/mock 2>/dev/null | wc -l)" = 1 ] && [ -n "$MOCK_DRIVER" ] || exit {_WITHOUT}'
_AT_ONCE: Final = 4


class Load:
    """Makes pods, a few at once, from `with` to its end; then `outcome` says what became of them.

    They are restartPolicy Never: what a container said is not lost in a restart.
    """

    def __init__(self, cluster: Reached, name: str) -> None:
        self._cluster, self._name = cluster, name
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._pods: list[str] = []
        self._failed: LabError | None = None
        self.outcome: Counter[str] = Counter()
        """How many of them `had` their device, ran `without`, or were `kept` from running."""

    def __enter__(self) -> Self:
        self._thread.start()
        wait_until(lambda: len(self._pods) > _AT_ONCE or self._failed, 60, "the first pods under load", 0.1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._enough.set()
        self._thread.join()
        if self._failed is not None:
            raise self._failed
        self._cluster.delete(*self._pods)

    def wait_more(self, what: str, kind: str | None = None) -> None:
        """Return when one more pod has ended, in any way or as `kind` says. Raises LabError, naming `what`, after 90 s."""

        def count() -> int:
            return self.outcome.total() if kind is None else self.outcome[kind]

        before = count()
        wait_until(lambda: count() > before, 90, f"one more pod under load to end after {what}", 0.2)

    def _run(self) -> None:
        try:
            open_pods: set[str] = set()
            while not self._enough.is_set() or open_pods:
                while len(open_pods) < _AT_ONCE and not self._enough.is_set():
                    name = f"{self._name}-{len(self._pods)}"
                    self._cluster.apply(
                        pod(name, container(command=["sh", "-c", _LOOK], devices={mock.KIND: 1}), restart="Never")
                    )
                    self._pods.append(name)
                    open_pods.add(name)
                open_pods -= {name for name in open_pods if self._ended(name)}
                self._enough.wait(0.1)
        except LabError as error:
            self._failed = error

    def _ended(self, name: str) -> bool:
        status = self._cluster.pod(name)
        if status.phase not in {"Succeeded", "Failed"}:
            return False
        code = status.containers["c"].exit_code if "c" in status.containers else None
        self.outcome["had" if code == 0 else "without" if code == _WITHOUT else "kept"] += 1
        return True
