from __future__ import annotations

from lab.fixtures import node, running_node, series, served, serving_node

__all__ = ["node", "running_node", "series", "served", "serving_node"]
