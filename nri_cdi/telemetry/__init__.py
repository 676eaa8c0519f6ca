"""What the agent says of itself."""

from .logs import set_up

__all__ = ["set_up"]
