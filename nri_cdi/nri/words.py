"""What the runner says of its connection, for people: why there is none, why it was lost. Pure."""

from __future__ import annotations


def why_not_connected(path: str, error: OSError) -> str:
    """Why connecting to the socket `path` failed, and what to look at."""
    if isinstance(error, FileNotFoundError):
        why = "it is not there (is the runtime running, and NRI enabled in its configuration?)"
    elif isinstance(error, ConnectionRefusedError):
        why = "nobody listens (the runtime is down or restarting, or its NRI is off now)"
    elif isinstance(error, PermissionError):
        why = "not permitted (it takes root)"
    elif isinstance(error, BlockingIOError):
        why = "nobody accepts (the runtime hangs, or is flooded with connections)"
    else:
        why = str(error)
    return f"waiting for the NRI socket {path}: {why}"


def why_lost(error: Exception) -> str:
    """Why a connection that stood was lost."""
    if isinstance(error, ConnectionError):
        return "the runtime closed the connection"
    if isinstance(error, BlockingIOError):
        return "the runtime does not read what it is sent"
    return str(error)
