from __future__ import annotations

import select
import threading
from typing import TYPE_CHECKING, cast

from nri_cdi.cdi import EMPTY
from nri_cdi.host.specs import Specs

if TYPE_CHECKING:
    from pathlib import Path

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


def test_a_spec_that_comes_while_the_agent_starts_is_not_missed(tmp_path: Path) -> None:
    specs = Specs((str(tmp_path),))
    specs.start()
    child = specs._reader._child
    assert child is not None
    assert child.stdout is not None
    assert select.select([child.stdout], [], [], 10)[0]  # it has looked, and nobody has taken its result yet
    spec = '{"cdiVersion": "0.6.0", "kind": "vendor.com/dev", "devices": [{"name": "a", "containerEdits": {"env": ["A=a"]}}]}'
    (tmp_path / "late.json").write_text(spec)
    thread = threading.Thread(target=specs.run)
    thread.start()
    try:
        snapshot = specs.current(10)
    finally:
        specs.stop()
        thread.join()
        specs._reader.end()
    assert snapshot is not None
    assert list(snapshot.devices) == ["vendor.com/dev=a"]
