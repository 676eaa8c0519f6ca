from __future__ import annotations

from typing import TYPE_CHECKING, cast

from nri_cdi.cdi import EMPTY
from nri_cdi.host.specs import Specs

if TYPE_CHECKING:
    from nri_cdi.host.inotify import Watch


class TakenMeanwhile:
    """A watch whose one event the other thread takes just before we look: it has said so in `_dirty` by then."""

    def __init__(self, specs: Specs) -> None:
        self._specs = specs

    def pending(self) -> bool:
        self._specs._dirty = True
        return False


def test_an_event_that_the_watching_thread_takes_at_this_moment_is_not_missed() -> None:
    specs = Specs(())
    specs._dirty = False
    assert specs.current(0) is EMPTY
    specs._watch = cast("Watch", TakenMeanwhile(specs))
    assert specs.current(0) is None
