# Everything runs in ./.venv, made by the first target that needs it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help install serve test test-slow soak train-smoke lint format generate deploy-lint container-test bench results gpu-check clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/.installed-serve: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e '.[worker,onnx,embedded]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.installed-serve

$(VENV)/.installed-deploy: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e '.[deploy,dev]'
	@touch $@ $(VENV)/.installed-dev $(VENV)/.installed-serve

$(VENV)/.installed-bench: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e '.[bench,dev]'
	@touch $@ $(VENV)/.installed-dev $(VENV)/.installed-serve

# Debian's packages, where they are missing and can be installed.
DEBIAN := tools/debian.sh

install: $(VENV)/.installed-dev ## Install everything, development tools included, into .venv

serve: $(VENV)/.installed-serve ## Start the service on http://127.0.0.1:8000
	$(BIN)/hrm serve

test: $(VENV)/.installed-dev ## Run the tests, without the slow ones
	$(BIN)/pytest -m "not slow"

test-slow: $(VENV)/.installed-dev ## Run the slow tests
	$(BIN)/pytest -m slow

SOAK_SWAPS ?= 100
SOAK_REQUESTS ?= 100000
soak: $(VENV)/.installed-dev ## A hundred swaps of checkpoints under a hundred thousand requests (some six minutes on two cores)
	SOAK_SWAPS=$(SOAK_SWAPS) SOAK_REQUESTS=$(SOAK_REQUESTS) $(BIN)/pytest -s -m slow tests/e2e/test_swap.py

train-smoke: $(VENV)/.installed-dev ## Train the smoke recipe, publish it, and let it solve what it has not seen
	$(BIN)/pytest -s -m slow tests/e2e/test_train_smoke.py

lint: $(VENV)/.installed-dev ## Check format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev ## Format the code and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

generate: $(VENV)/.installed-dev ## Write the operator's manual, the dashboard and the Kubernetes rules anew
	$(BIN)/python -m tools.generate

deploy-lint: $(VENV)/.installed-deploy ## Judge Dockerfile, compose files, manifests, alerts and dashboard; run nothing
	@$(DEBIAN) promtool=prometheus
	$(BIN)/python -m tools.deploy_lint

container-test: $(VENV)/.installed-deploy ## Build images, run them by compose and by `podman play kube`, and solve (root, Debian)
	@$(DEBIAN) podman runc debootstrap iptables /usr/lib/podman/netavark=netavark /usr/lib/podman/aardvark-dns=aardvark-dns catatonit
	$(BIN)/python -m tools.container_test

bench: $(VENV)/.installed-dev ## Measure the engine against static batches, with the shipped checkpoint
	$(BIN)/python -m benchmarks.engine

# The benchmarks of benchmarks/RESULTS.md, in its order; about half an hour on two cores with nothing else running.
BENCHMARKS := engine peers serve act profile
AROUND := backends ops overhead queue_full swap checker fairness
SCALES := slots tasks workers sequence
RESULTS := benchmarks/results
PUZZLES := $(if $(HRM_COMMUNITY_DIR),--file $(HRM_COMMUNITY_DIR)/sudoku-community.dev.csv --source bug_n)

results: $(VENV)/.installed-bench ## Run every benchmark and write benchmarks/RESULTS.md; HRM_COMMUNITY_DIR: of real puzzles
	@mkdir -p $(RESULTS)
	for name in $(BENCHMARKS); do \
		$(BIN)/python -m benchmarks.$$name --json $(RESULTS)/$$name.json $(PUZZLES) || exit 1; done
	for name in $(AROUND); do $(BIN)/python -m benchmarks.$$name --json $(RESULTS)/$$name.json || exit 1; done
	for what in $(SCALES); do \
		$(BIN)/python -m benchmarks.scale $$what --json $(RESULTS)/scale-$$what.json $(PUZZLES) || exit 1; done
	$(BIN)/python -m benchmarks.results

gpu-check: $(VENV)/.installed-dev ## Everything that has to be shown on a GPU, in one run of minutes
	$(BIN)/python -m benchmarks.gpu_check

clean: ## Remove caches and the virtual environment
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
