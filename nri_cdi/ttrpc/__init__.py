"""ttrpc without I/O: the protocol that containerd and its NRI plugins speak, as state machines over bytes.

Nothing here reads, writes, waits or logs. Feed the bytes that came, take the events, write the bytes that are returned:

    link = Link()                                      # a plugin's side; a runtime's is Link(serves=2, calls=1)
    stream, data = link.call("nri.pkg.api.v1alpha1.Runtime", "RegisterPlugin", register)
    sock.sendall(data)
    while data := sock.recv(65536):
        for event in link.receive(data):               # RemoteProtocolError: close the socket, connect again
            match event:
                case AnswerReceived(status=status):    # to the call with the same stream
                    ...
                case CallReceived(method="Configure"):
                    sock.sendall(link.answer(event.stream, b""))
                case CallReceived(service=service, method=method):
                    text = unimplemented(service, method)
                    sock.sendall(link.refuse(event.stream, Code.UNIMPLEMENTED, text))
                case UnreadableCallReceived(detail=detail):
                    sock.sendall(link.refuse(event.stream, Code.INVALID_ARGUMENT, detail))
    link.eof()                                         # Truncated: the peer closed inside a message

Without NRI's multiplexer, `Connection(Role.SERVES)` and `Connection(Role.CALLS)` are the two ends of a plain ttrpc
connection.

From the bottom to the top: errors, status, messages | frames, mux | events, lifecycle, connection, link.
"""

from nri_cdi.ttrpc.connection import Connection, Role
from nri_cdi.ttrpc.errors import (
    LocalProtocolError,
    MessageTooLarge,
    ProtocolError,
    RemoteProtocolError,
    Rule,
    Truncated,
)
from nri_cdi.ttrpc.events import AnswerReceived, CallReceived, Event, UnreadableCallReceived
from nri_cdi.ttrpc.lifecycle import State
from nri_cdi.ttrpc.link import Link
from nri_cdi.ttrpc.mux import PLUGIN_CONNECTION, RUNTIME_CONNECTION
from nri_cdi.ttrpc.status import Code, Status, unimplemented

__all__ = [
    "PLUGIN_CONNECTION",
    "RUNTIME_CONNECTION",
    "AnswerReceived",
    "CallReceived",
    "Code",
    "Connection",
    "Event",
    "Link",
    "LocalProtocolError",
    "MessageTooLarge",
    "ProtocolError",
    "RemoteProtocolError",
    "Role",
    "Rule",
    "State",
    "Status",
    "Truncated",
    "UnreadableCallReceived",
    "unimplemented",
]
