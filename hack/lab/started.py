"""What is started by a `with` block and stopped at its end, also when the start itself fails."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType


class Started(abc.ABC):
    """Something with `start` and `stop`; `stop` must cope with a start that failed anywhere."""

    @abc.abstractmethod
    def start(self) -> Self:
        """Start it. Returns itself."""

    @abc.abstractmethod
    def stop(self) -> None:
        """End it. May be called again."""

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
