"""nri-cdi installed in a cluster from its chart and its image, as an operator does it: for `make demo-kind` and tests/cluster/deployed."""
