"""What can go wrong on a ttrpc link, and whose fault it is.

`LocalProtocolError`: this side asked for something that the protocol does not allow. It is raised at the place of the
misuse and nothing has changed: no byte was made, no stream was opened or closed.

`RemoteProtocolError`: a wrong byte came from the peer. The stream is a single sequence of bytes without marks to
start again from, so the link is closed for good; connect again.
"""

from __future__ import annotations

from enum import StrEnum


class Rule(StrEnum):
    """The rule that was broken; complete, so that tables of tests and of documentation can be."""

    CONNECTION_ID = "connection-id"
    """A multiplexer frame for a connection that the link does not have (0 is reserved)."""
    FRAME_LENGTH = "frame-length"
    """A multiplexer frame longer than any message."""
    MESSAGE_LENGTH = "message-length"
    """A ttrpc message over the limit: `frames.RECEIVE_MAX` for theirs, `frames.SEND_MAX` for ours."""
    MESSAGE_TYPE = "message-type"
    """A ttrpc message that this role does not receive, or of a type that unary calls do not use."""
    STREAM_ID = "stream-id"
    """A request on an even stream or one not above all before; a response or answer on a stream that waits for none."""
    PROTOBUF = "protobuf"
    """Bytes that are not the protobuf message they should be."""
    TRUNCATED = "truncated"
    """The stream ended inside a message."""
    CLOSED = "closed"
    """Use of a link after its end."""
    ROLE = "role"
    """A call from a connection that only serves, an answer from one that only calls."""
    VALUE = "value"
    """A value that the wire cannot carry: text that is not Unicode, a number out of range, a refusal with code OK."""


class ProtocolError(Exception):
    """The base of both: `rule` says which rule was broken, `detail` what happened, for people."""

    def __init__(self, rule: Rule, detail: str) -> None:
        super().__init__(rule, detail)
        self.rule = rule
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.detail} ({self.rule})"


class LocalProtocolError(ProtocolError):
    """This side broke the protocol. Nothing was sent and nothing has changed."""


class MessageTooLarge(LocalProtocolError):
    """A message to send is over the limit of the peer's reader. A call that it should answer can still be refused."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            Rule.MESSAGE_LENGTH, f"a message of {size} bytes cannot be sent: the peer reads at most {limit}"
        )
        self.size = size
        self.limit = limit


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol. The link is closed for good."""


class Truncated(RemoteProtocolError):
    """The stream ended inside a message; at least `missing` bytes of it never came."""

    def __init__(self, missing: int) -> None:
        super().__init__(Rule.TRUNCATED, f"the peer closed the link inside a message, at least {missing} bytes short")
        self.missing = missing
