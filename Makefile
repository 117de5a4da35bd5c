# `make` prints the targets. Each target makes .venv first and installs only the packages that it needs.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Two workers for each processor: many tests wait for a server, a browser or a clock.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(2 * (os.cpu_count() or 1))')
TESTS ?= tests
PYTEST = $(BIN)/python -m pytest -q -n $(WORKERS)
# The tests that together take every branch of the core.
CORE := tests/core tests/attacks $(wildcard tests/auth/test_opaque*.py) tests/sync/test_relink.py \
	$(addprefix tests/auth/test_,own_id.py oidc_machines.py profile.py resolver.py sessions.py) \
	tests/webhooks/test_event_handlers.py tests/webhooks/test_reconciler.py \
	$(addprefix tests/sync/test_,writeback.py backfill.py)

.DEFAULT_GOAL := help
.PHONY: help dev test test-all coverage lint docs bench mutants soak clean

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The stamps of what is installed: the package alone, with the command line, for the tests, for the linters.
$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "clerkmap needs Python 3.11 or later: make PYTHON=python3.13 ...")'
	@echo "Making $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.cli: $(VENV)/.python pyproject.toml constraints.txt
	@echo "Installing clerkmap with its command line"
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[cli]"
	@touch $@

$(VENV)/.test $(VENV)/.lint: $(VENV)/.%: $(VENV)/.python pyproject.toml constraints.txt
	@echo "Installing the dependency group \"$*\""
	@$(BIN)/pip install --quiet --upgrade "pip>=25.1"  # the first version with dependency groups
	@$(BIN)/pip install --quiet -c constraints.txt -e . --group $*
	@touch $@

dev: $(VENV)/.cli  ## start Clerk on localhost, with its page and a demo app; DEV="--port 4401" sets options
	@echo "Starting clerkmap dev"
	@$(BIN)/clerkmap dev $(DEV)

test: $(VENV)/.test  ## run all tests but the slow ones; TESTS="tests/core tests/auth" names folders
	$(PYTEST) -m "not slow" $(TESTS)

test-all: $(VENV)/.test  ## run all tests
	$(PYTEST) $(TESTS)

coverage: $(VENV)/.test  ## fail unless the tests take every branch of the core
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest -q -n $(WORKERS) -m "not slow" $(CORE)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --fail-under=100

lint: $(VENV)/.test $(VENV)/.lint  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	PATH="$(abspath $(BIN)):$$PATH" PYTHONPATH=typings $(BIN)/pyright --verifytypes clerkmap --ignoreexternal  # it asks the first python on the PATH

docs: $(VENV)/.test  ## run the code in the README and the docs, and check their links
	$(PYTEST) tests/docs

bench: $(VENV)/.test  ## measure docs/speed.md; BENCH=--short for a quick run
	$(BIN)/python -m benchmarks $(BENCH)

mutants: $(VENV)/.test  ## break the source in many small ways: a test must find each of them
	$(BIN)/python tests/support/mutants.py

soak: $(VENV)/.test  ## run the slow tests in their long form
	CLERKMAP_SOAK=1 $(PYTEST) -m slow

clean:  ## remove .venv and everything that is made by a run
	rm -rf $(VENV) tests/support/js/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage* dist build
