"""What makes nri-cdi what it is: whose container is it, what was promised to it, and does it have it.

From the bottom to the top: concern, refusals, request, runtime | keys, promise | marks, expressible | decision, gate | adjustment | plugin.
"""

from .plugin import InjectPlugin, Stance
from .policy import Policy

__all__ = ["InjectPlugin", "Policy", "Stance"]
