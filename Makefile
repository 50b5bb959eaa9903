# Everything a person or CI runs. `make` alone lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-done
# Where torch comes from; empty means the package index that pip is set up with.
# Example: make setup TORCH_INDEX_URL=<the CPU or CUDA index that pytorch.org names>
TORCH_INDEX_URL ?=
PYTEST_ARGS ?=
# Options of services.local, such as SERVE="--preset flashhead-1.3b --weights FOLDER".
SERVE ?=
# One worker a core, four at most: tests of the whole suite start processes of their own. A file
# stays with one worker, so that its tests share what they start.
TEST_WORKERS ?= auto
PYTEST := $(BIN)/python -m pytest -n $(TEST_WORKERS) --maxprocesses 4 --dist loadfile \
	--no-loadscope-reorder $(PYTEST_ARGS)

# Threads that sleep while they wait: spinning ones lose most of their time to each other as soon
# as more threads than cores want to run.
export OMP_WAIT_POLICY ?= PASSIVE

# Where it is set, every process would compile all that it imports anew: seconds of each.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort \
		| awk -F'\t' '{ printf "  make %-18s %s\n", $$1, $$2 }'

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "setup: Python 3.11 or 3.12 is needed" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' \
		|| { echo "setup: Python 3.11 or 3.12 is needed; try: make setup PYTHON=python3.11" >&2; \
			exit 1; }
	$(PYTHON) -m venv $(VENV)

# torch first, by itself and pinned: the rest then finds it installed, and on a machine whose
# index offers a CPU build no CUDA package follows. --no-deps: the lock is the whole list.
# uv installs it in a tenth of pip's time; pip steps in where only pip knows the way to an index.
# Bytecode is made now, as pip does it: without it each import of transformers takes seconds more.
$(STAMP): $(BIN)/python pyproject.toml requirements/constraints.txt requirements/dev.txt \
		scripts/setup_system.sh scripts/install_helm.py
	scripts/setup_system.sh
	$(BIN)/pip install --quiet --constraint requirements/constraints.txt \
		$(if $(TORCH_INDEX_URL),--index-url $(TORCH_INDEX_URL)) torch
	$(BIN)/pip install --quiet --constraint requirements/constraints.txt uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --no-deps \
		-r requirements/dev.txt \
		|| $(BIN)/pip install --quiet --no-deps -r requirements/dev.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python scripts/install_helm.py $(BIN)
	touch $@

.PHONY: setup
setup: $(STAMP) ## create .venv, install system programs and Python packages (done once)

.PHONY: demo
demo: setup ## start the suite and generate a video of the example portrait: out/demo.mp4
	@mkdir -p out
	$(BIN)/python -m services.local --port 0 --run $(BIN)/flashtalk talk --gateway {gateway} \
		--image examples/portrait.png --audio examples/speech.wav --out out/demo.mp4

.PHONY: serve
serve: setup ## start the suite on this machine until Ctrl-C; prints its addresses
	$(BIN)/python -m services.local $(SERVE)

.PHONY: observe
observe: setup ## start the suite with active sessions and a Prometheus; prints addresses
	$(BIN)/python -m scripts.observe

.PHONY: test
test: setup ## run all tests
	$(PYTEST)

.PHONY: test-unit
test-unit: setup ## run the unit tests only (fast)
	$(PYTEST) tests/unit

.PHONY: test-integration
test-integration: setup ## run the integration tests (engines, files, processes)
	$(PYTEST) tests/integration

.PHONY: check
check: format-check lint types imports spelling house protos-check ## run all static checks

.PHONY: format-check
format-check: setup ## check the formatting
	$(BIN)/ruff format --check .

.PHONY: lint
lint: setup ## run ruff
	$(BIN)/ruff check .

.PHONY: types
types: setup ## run mypy --strict
	$(BIN)/mypy

.PHONY: imports
imports: setup ## check the import rules
	$(BIN)/lint-imports --no-logo

.PHONY: spelling
spelling: setup ## run codespell on the tracked files
	git ls-files -z | xargs -0 $(BIN)/codespell

.PHONY: house
house: setup ## check file sizes, names, paths and the contents of the wheel
	$(BIN)/python -m pytest -q tests/unit/test_house.py

.PHONY: chart-check
chart-check: setup ## test the chart: lint, schemas of every profile, recorded renderings
	$(BIN)/helm lint --strict helm/flashtalk
	$(BIN)/python scripts/make_chart_docs.py --check
	$(BIN)/python -m pytest -q tests/integration/test_chart.py $(PYTEST_ARGS)

.PHONY: images
images: ## build the container images with docker, podman or buildah (see the script)
	BUILDER="$(BUILDER)" BASE_IMAGE="$(BASE_IMAGE)" TORCH_INDEX_URL="$(TORCH_INDEX_URL)" \
		COMPILER="$(COMPILER)" scripts/build_images.sh

.PHONY: test-images
test-images: setup ## build the images and run them with the restrictions of a cluster
	$(BIN)/python -m pytest -q tests/images/check_images.py $(PYTEST_ARGS)

.PHONY: test-cluster
test-cluster: setup ## test the chart on a real cluster: KUBECONFIG, or CLUSTER_KIT to start one
	$(BIN)/python -m pytest -q -s tests/cluster/check_*.py $(PYTEST_ARGS)

.PHONY: protos
protos: setup ## generate flashtalk/v1 from protos/
	$(BIN)/python scripts/generate_protos.py

.PHONY: protos-check
protos-check: setup ## check that flashtalk/v1 is up to date and the protos are valid and compatible
	$(BIN)/python scripts/generate_protos.py --check
	$(BIN)/buf lint
	$(BIN)/buf breaking --against protos/baseline.binpb

.PHONY: protos-baseline
protos-baseline: setup ## record the protos of a release; later protos must be compatible with them
	$(BIN)/buf build -o protos/baseline.binpb

.PHONY: fmt
fmt: setup ## format the tree and apply ruff's fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: bench
bench: setup ## run the benchmarks: tables, and JSON in out/
	@mkdir -p out
	$(BIN)/flashtalk bench --image examples/portrait.png --audio examples/speech.wav \
		--out out/bench.json
	$(BIN)/flashtalk bench --random --size 128x128 --guidance 1 --out out/bench-128.json
	$(BIN)/flashtalk bench table4
	$(BIN)/flashtalk bench cycle
	$(BIN)/python -m tests.benchmarks.overhead --out out/bench-suite.json

.PHONY: train-smoke
train-smoke: setup ## run a few steps of each training recipe
	$(PYTEST) tests -m "not gpu" -k smoke

.PHONY: examples
examples: setup ## regenerate examples/
	$(BIN)/python scripts/make_examples.py

.PHONY: locks
locks: setup ## compile pyproject.toml into requirements/*.txt
	scripts/compile_locks.sh $(BIN)/uv

.PHONY: dashboards
dashboards: setup ## regenerate the Grafana dashboards of the chart
	$(BIN)/python -m scripts.make_dashboards

.PHONY: clean
clean: ## remove caches and outputs, not .venv
	rm -rf out dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -path ./.venv -prune -o -name __pycache__ -prune -exec rm -rf {} +
