"""Whether the node already offers a resource through another plugin: then it is not registered, for the kubelet would take ours in its place.

Asked is the kubelet, over its pod resources API. What it offers is ours if any of the devices is one that we have registered, in this process
or another one (`memory`): an instance of ours that is being replaced, or one that has just been killed. One that registers the resource after us
takes our place all the same, and the kubelet tells nobody: so it is asked again now and then (`Count`).
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

import grpc

from nri_cdi.kubelet.loop import Objection
from nri_cdi.kubelet.order import few
from nri_cdi.kubelet.pod_resources import NoAnswer, offered
from nri_cdi.kubelet.sockets import socket_id
from nri_cdi.kubelet.standing import Counted

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Mapping

    from nri_cdi.kubelet.standing import SocketId

RETURN: Final = 60.0
"""Seconds that the other plugin has to register again with a kubelet that is new, before the resource counts as free. Until it comes the kubelet
knows nothing of it, and many plugins restart, or are restarted, for that."""

PAUSE: Final = 0.5
"""Seconds between two questions whether another plugin still offers the resource."""

BUSY: Final = 1.0
"""Seconds for which a kubelet is asked again that answers so many questions that it refuses ours; it allows a hundred in a second, from all who ask."""

BUSY_PAUSE: Final = 0.05
"""Seconds between two of these questions."""

ASK: Final = 10.0
"""Seconds between two questions whose devices the kubelet counts, while they are ours: its answer has every device of the node."""

ASK_AGAIN: Final = 1.0
"""The same while they are not."""

_log = logging.getLogger("nri_cdi.kubelet")


class Elsewhere:
    """Says why `resource` is not to be registered now, or nothing. `ours` gives the ids that we have registered before, this process or another.

    A kubelet that is new (its socket `path` is another) has forgotten the other plugin for a while, which is no leave. Nor is it one that the
    kubelet refuses to answer because it is asked too often. But without an answer at all we register, and say so.
    """

    def __init__(self, path: pathlib.Path, resource: str, ours: Callable[[], frozenset[str]]) -> None:
        self._path, self._resource, self._ours = path, resource, ours
        self._theirs: frozenset[str] = frozenset()
        self._sure = False
        """Whether they have been seen twice: an instance of ours that has just registered may not have written down its devices yet."""
        self._kubelet: SocketId | None = None
        self._forgotten_until = float("-inf")
        self._busy_until: float | None = None
        self._said = ""

    def __call__(self) -> Objection | None:
        """The objection, if there is one."""
        now = time.monotonic()
        kubelet = socket_id(self._path)
        if kubelet != self._kubelet:
            self._kubelet = kubelet
            if self._theirs:
                self._forgotten_until = now + RETURN
        try:
            found = offered(self._path, self._resource)
        except NoAnswer as error:
            return self._unanswered(error, now)
        self._busy_until = None
        ours = self._ours() if found or self._theirs else frozenset()
        if found and found.isdisjoint(ours):
            self._sure = bool(self._theirs)
            self._theirs = found
            self._forgotten_until = float("-inf")
        elif found or now >= self._forgotten_until or not self._theirs.isdisjoint(ours):
            self._theirs = frozenset()
        return self._objection(now)

    def _unanswered(self, error: NoAnswer, now: float) -> Objection | None:
        if self._theirs:
            self._sure = True
            return self._objection(now)
        if error.code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            if self._busy_until is None:
                self._busy_until = now + BUSY
            if now < self._busy_until:
                return Objection(BUSY_PAUSE)
        if str(error) != self._said:
            self._said = str(error)
            _log.warning(
                "%s: registering without knowing whether another device plugin offers it already: %s",
                self._resource,
                error,
            )
        return None

    def _objection(self, now: float) -> Objection | None:
        if not self._theirs:
            return None
        if not self._sure:
            return Objection(PAUSE)
        devices = f"(devices {few(self._theirs)})"
        todo = "remove that plugin, or give ours another name: --resource KIND=RESOURCE"
        if now < self._forgotten_until:
            return Objection(
                PAUSE,
                f"this node offered {self._resource} through another device plugin {devices} until the kubelet restarted, "
                f"and that plugin has {RETURN:g} s to register again; {todo}",
            )
        return Objection(
            PAUSE, f"this node offers {self._resource} already through another device plugin {devices}; {todo}"
        )


class Count:
    """Says whose devices of `resource` the kubelet counts; what is not as it was must be seen twice. `listed`: our ids, and whether each is healthy."""

    def __init__(self, path: pathlib.Path, resource: str, listed: Callable[[], Mapping[str, bool]]) -> None:
        self._path, self._resource, self._listed = path, resource, listed
        self._said = self._seen = Counted.OURS
        self._next = float("-inf")

    def __call__(self) -> Counted:
        """Ask, if it is time to."""
        now = time.monotonic()
        if now >= self._next:
            self._look()
            self._next = now + (ASK if self._seen is self._said is Counted.OURS else ASK_AGAIN)
        return self._said

    def _look(self) -> None:
        try:
            seen = self._judged(offered(self._path, self._resource))
        except NoAnswer as error:
            if error.code is not None:  # it is there, and counts what it counted: it is asked too often, perhaps
                return
            seen = Counted.OURS
        before, self._seen = self._seen, seen
        if self._seen is before:
            self._said = self._seen

    def _judged(self, found: frozenset[str]) -> Counted:
        ours = self._listed()
        if not ours.keys().isdisjoint(found):
            return Counted.OURS
        if found:
            return Counted.THEIRS
        return Counted.NOBODYS if any(ours.values()) else Counted.OURS
