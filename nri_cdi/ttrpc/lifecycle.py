"""The life of a link or connection: it is open until its end, and the end is for good.

| state  | receive, call, answer, refuse, eof | how it is reached |
| ------ | ---------------------------------- | ----------------- |
| open   | yes                                | from the start |
| closed | LocalProtocolError                 | `eof()` between two messages |
| failed | LocalProtocolError                 | a RemoteProtocolError: a wrong byte, or `eof()` inside a message |
"""

from __future__ import annotations

from enum import Enum

from nri_cdi.ttrpc.errors import LocalProtocolError, Rule


class State(Enum):
    """See the table above."""

    OPEN = "open"
    CLOSED = "closed"
    FAILED = "failed"


def require_open(state: State, verb: str) -> None:
    """Raise LocalProtocolError unless `state` is open; `verb` is what was tried."""
    if state is not State.OPEN:
        raise LocalProtocolError(Rule.CLOSED, f"{verb} on a link that has {state.value}; connect again")
