"""Spec directories of a test, followed: by the real watcher, or by one that works without its reading process."""

from __future__ import annotations

import contextlib
import json
import threading
from typing import TYPE_CHECKING

from nri_cdi.cdi import packed
from nri_cdi.cdi.look import NOTHING_KNOWN
from nri_cdi.cdi.packed import Unpacker
from nri_cdi.cdi.scan import look
from nri_cdi.host.reader import Reader
from nri_cdi.host.specs import Specs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nri_cdi.cdi.look import Look, Memory

KIND = "v.com/d"


def text(*devices: str) -> str:
    """The content of a spec file with these devices, each with one variable."""
    return json.dumps(
        {
            "cdiVersion": "0.6.0",
            "kind": KIND,
            "devices": [{"name": name, "containerEdits": {"env": ["A=1"]}} for name in devices],
        }
    )


def unpacked(frames: Iterable[bytes], known: Memory = NOTHING_KNOWN) -> Look:
    """The look in these frames, by one who knows that. Raises ValueError if they are not one look exactly."""
    unpacker = Unpacker(known.contents)
    looks = [unpacker.take(frame) for frame in frames]
    whole = looks.pop() if looks else None
    if whole is None or any(found is not None for found in looks):
        raise ValueError("the last frame, and only that, ends a look")
    return whole


class SameProcess(Reader):
    """Looks without a child process: what is looked at, and when, is the same. `looks` records them."""

    def __init__(self, directories: tuple[str, ...]) -> None:
        super().__init__(directories)
        self.looks: list[Look] = []

    def ask(self, known: Memory) -> None:
        """Remember the question."""
        self._known = known

    def answer(self) -> Look:
        """Look now, leases included: whoever uses this has SIGIO ignored."""
        question = packed.decode_known(packed.encode_known(self._known))
        seen = look(self._directories, *question, leases=True)
        self.looks.append(unpacked(packed.encode_look(seen), self._known))
        return self.looks[-1]


class InProcess(Specs):
    """Without the child process."""

    def __init__(self, directories: tuple[str, ...]) -> None:
        super().__init__(directories)
        self.reader = self._reader = SameProcess(directories)

    def start(self) -> None:
        """Begin to watch; the first look is that of `run`."""
        self._make_watch()


@contextlib.contextmanager
def running(specs: Specs) -> Iterator[Specs]:
    """The watcher, followed by a thread as the agent does it, until the end of the block."""
    specs.start()
    thread = threading.Thread(target=specs.run)
    thread.start()
    try:
        yield specs
    finally:
        specs.stop()
        thread.join(10)
        if thread.is_alive():
            raise RuntimeError("the thread of the specs did not end")


def devices(specs: Specs, patience: float = 20) -> set[str]:
    """The names (behind the `=`) that resolve for a request that comes now."""
    snapshot = specs.current(patience)
    if snapshot is None:
        raise RuntimeError(f"no current snapshot within {patience:g} s")
    return {name.partition("=")[2] for name in snapshot.devices}
