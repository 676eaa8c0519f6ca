from __future__ import annotations

from lab.fixtures import series, served, serving_node

__all__ = ["series", "served", "serving_node"]
