"""A cluster of kind, and nri-cdi in it: for `make demo-kind` and tests/kind."""
