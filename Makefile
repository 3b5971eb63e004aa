# Every target works on a fresh clone: uv and all Python packages are installed when first needed.
SHELL := /bin/bash
.DEFAULT_GOAL := help
RUN = $$(sh hack/uv.sh) run --frozen
# with torch: 5 GB, linked from the cache
RUN_ALL = $(RUN) --all-groups

.PHONY: help
help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Make a two-node cluster, serve two real models in it, ask them, and leave it running
	@$(RUN_ALL) python -m hack.demo up

.PHONY: demo-scaling
demo-scaling: ## Replay a day of traffic in the demo's cluster and watch replicas come before it
	@$(RUN_ALL) python -m hack.demo scaling

.PHONY: demo-down
demo-down: ## Take the demo away
	@$(RUN) python -m hack.demo down

.PHONY: demo-env
demo-env: ## Print shell settings for the demo's cluster: eval "$$(make demo-env)"
	@$(RUN) python -m hack.cluster env

.PHONY: fault
fault: ## Break something for a time: make fault ARGS='freeze springtide-node-2 --seconds 60'
	@$(RUN) python -m hack.cluster fault $(ARGS)

.PHONY: test
test: lint ## Run everything: lint, then all tests
	$(RUN_ALL) pytest

.PHONY: test-unit
test-unit: ## Run the tests that need nothing but Python
	$(RUN) pytest tests/unit

.PHONY: test-api
test-api: ## Run the operator against a real API server
	$(RUN) pytest tests/api

.PHONY: test-faults
test-faults: ## Run the operator behind a network and an API server that fail
	$(RUN) pytest tests/faults

.PHONY: test-server
test-server: ## Run the model server with real models
	$(RUN_ALL) pytest tests/model_server

.PHONY: test-signals
test-signals: ## Run the recording rules in a real Prometheus
	$(RUN) pytest tests/signals

.PHONY: test-cluster
test-cluster: ## Run everything in real clusters with real nodes
	$(RUN_ALL) pytest tests/cluster

.PHONY: lint
lint: verify ## Check style, types, layers and generated files
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	MYPY_CACHE_DIR=$${XDG_CACHE_HOME:-$$HOME/.cache}/springtide/mypy $(RUN_ALL) mypy
	$(RUN) lint-imports

.PHONY: generate
generate: ## Write all generated files
	$(RUN) python -m hack.generate

.PHONY: verify
verify: ## Check that generated files and uv.lock are true
	$(RUN) python -m hack.generate --check
	$$(sh hack/uv.sh) lock --check

.PHONY: clean
clean: ## Take away all local clusters and this checkout's environment; the per-user cache stays
	@$(RUN) python -m hack.cluster down --all
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
