"""The tests here take any cluster: $CLUSTER is kind, one-node (the lab's, the default) or kubeconfig."""

from __future__ import annotations

from deployed.fixtures import cluster, release

__all__ = ["cluster", "release"]
