# nri-cdi. `make help` lists the targets; demo and test set up all they need.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
# the containerd that the demo runs on, and those that the tests run on
RUNTIME ?= 1.7
RUNTIMES ?= 1.7 2.1 2.4
export RUNTIMES RUNTIME
# 2.4 with the next NRI library, which no containerd release carries yet: only what that adds is tested on it
NEXT := $(if $(filter 2.4,$(RUNTIMES)),2.4-nri0.12.5)
# where test-daemonset installs nri-cdi
CLUSTER ?= one-node

BIN := .venv/bin
STAMP := .venv/.made

.PHONY: help
help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  RUNTIME=2.1 make demo     the demo on another containerd;   DEMO_JSON=path keeps its record"
	@echo "  RUNTIMES=\"1.7\" make test  only one of the three containerd that the tests run on"

.PHONY: demo
demo: setup runtime ## the main job on a real containerd: eight devices, pods of 4, 3 and 2, the agent killed and back (root)
	@$(BIN)/python hack/demo.py

.PHONY: test
test: setup runtimes ## all tests: unit, property, and on real containerd 1.7, 2.1 and 2.4 (root, go)
	$(BIN)/python -m pytest -q tests/unit tests/conformance tests/runtime

.PHONY: test-unit
test-unit: setup ## the tests that need no root and no containerd
	$(BIN)/python -m pytest -q tests/unit

.PHONY: test-cluster
test-cluster: setup ## on a real one-node Kubernetes with containerd 1.7, 2.1 and 2.4, built when it is not there (root, go; 11 minutes, the first time half an hour)
	@hack/get-runtime $(CLUSTER_RUNTIMES)
	@hack/get-kubernetes
	$(BIN)/python -m pytest -q tests/cluster --ignore=tests/cluster/deployed

.PHONY: test-deploy
test-deploy: setup runtimes ## the chart, the manifests, the image's parts (go, for helm)
	@hack/get-tool helm
	$(BIN)/python -m pytest -q tests/deploy

.PHONY: test-kind
test-kind: setup image ## the chart and the image on a kind cluster (docker; KIND_NODE_IMAGE names another node image)
	CLUSTER=kind $(BIN)/python -m pytest -q tests/cluster/deployed

.PHONY: test-daemonset
test-daemonset: setup ## the chart and the image on the one-node Kubernetes (docker, root, go), or CLUSTER=kubeconfig: on that of KUBECONFIG
	@if [ "$(CLUSTER)" = one-node ]; then hack/image && hack/get-runtime $(or $(CLUSTER_RUNTIMES),1.7 2.1) && hack/get-kubernetes; fi
	CLUSTER=$(CLUSTER) $(BIN)/python -m pytest -q tests/cluster/deployed --ignore=tests/cluster/deployed/kind

.PHONY: chaos
chaos: setup ## everything that can break breaks, on real containerd 1.7, 2.1 and 2.4 (root; 5 minutes; STORM=300 RESTARTS=200: the long form)
	@hack/get-runtime 1.7 2.1 2.4
	@$(BIN)/python hack/chaos.py --seconds $(or $(STORM),24) --restarts $(or $(RESTARTS),10) $(if $(SEED),--seed $(SEED)) $(if $(OLD),--old $(OLD))

.PHONY: check
check: setup ## lint, types, layers, generated code and pages
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python hack/generate --check
	$(BIN)/python hack/pages.py --check

.PHONY: mutants
mutants: setup ## plant known bugs one by one and see that a named test fails for each
	$(BIN)/python hack/mutants

.PHONY: bench
bench: setup ## start time, memory, the answer's median and p99, the layers' price, scale, and a hundred thousand requests (10 minutes)
	$(BIN)/python benchmarks/answer.py
	$(BIN)/python benchmarks/layers.py
	$(BIN)/python benchmarks/cdi_scale.py
	$(BIN)/python benchmarks/long_run.py
	$(BIN)/python benchmarks/device_plugin.py

.PHONY: image
image: ## the container image (docker; BASE_IMAGE names another base)
	@hack/image

.PHONY: chart
chart: setup ## write the chart's README and deploy/manifests anew from deploy/helm
	$(BIN)/python hack/chart

.PHONY: demo-kubernetes
demo-kubernetes: setup runtimes ## the first scene on a real kubelet (root, go)
	@hack/get-kubernetes
	@$(BIN)/python hack/demo_kubernetes.py

.PHONY: demo-kind
demo-kind: setup image ## the first scene on kind, from nothing (docker)
	@$(BIN)/python hack/demo_kind.py

.PHONY: generate
generate: setup ## write the protobuf modules anew from proto/
	$(BIN)/python hack/generate

.PHONY: format
format: setup ## format the code
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

.PHONY: lock
lock: setup ## resolve the locked dependencies anew
	$(BIN)/uv pip compile -q pyproject.toml --extra all --group dev --universal --generate-hashes --python-version 3.11 \
	    --upgrade --custom-compile-command "make lock" -o requirements/dev.txt
	$(BIN)/uv pip compile -q pyproject.toml --extra all --universal --generate-hashes --python-version 3.11 \
	    --upgrade --custom-compile-command "make lock" -o requirements/image.txt

.PHONY: setup
setup: $(STAMP) ## the virtual environment in .venv with the locked dependencies

$(STAMP): requirements/dev.txt pyproject.toml hack/setup
	@PYTHON=$(PYTHON) hack/setup
	@touch $@

.PHONY: runtime runtimes
runtime:
	@hack/get-runtime $(RUNTIME)

runtimes: ## the container runtimes for the tests, in a cache outside the checkout
	@hack/get-runtime $(RUNTIMES) $(NEXT)
	@hack/need strace strace

.PHONY: clean
clean: ## remove what was made in the checkout (not the cache)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
