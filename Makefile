# Everything a newcomer needs: make dev (the thing on localhost), make test, make lint, make docs, make bench.
# Each makes its own .venv first, with the Python that PYTHON names.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.made
# One more than there are processors, for many tests wait for a server, a browser or a clock.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')
# What is tested with servers, databases and other programs, and tells nothing of the core that the rest does not.
WORLD := architecture asgi backfill bulk cli clerk_api crashes current differential django docs drift example fake \
	fastapi faults file flask founding freshness isolation lasting leases linearizability listing local lost_answers \
	mcp mutants nemesis official opaque_flights opaque_memory orders outbox page pgbouncer plugin postgres races \
	reconciler_orders relink remote request_table schema signed sqlite starlette transactions volumes webhook_endpoint \
	websocket

.PHONY: dev test quick coverage lint docs bench mutants soak clean

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "clerkmap needs Python 3.11 or later: make PYTHON=python3.13 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade "pip>=25.1"  # the first that knows dependency groups
	$(BIN)/pip install --quiet -c constraints.txt -e . --group test --group lint --group bench
	@touch $@

dev: $(STAMP)  ## Clerk on localhost, with its page and a demo app; make dev DEV="--port 4401" for options
	$(BIN)/clerkmap dev $(DEV)

test: $(STAMP)  ## every test
	$(BIN)/python -m pytest -n $(WORKERS)

quick: $(STAMP)  ## every test that takes no time; make quick WITHOUT="postgres page" leaves some out
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow" $(foreach name,$(WITHOUT),--ignore-glob="tests/*/test_$(name)*")

coverage: $(STAMP)  ## the branches of the core that no test took (the core knows nothing of servers)
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest -q -n $(WORKERS) -m "not slow" $(foreach name,$(WORLD),--ignore-glob="tests/*/test_$(name)*")
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --include="src/clerkmap/core/*" --fail-under=100

lint: $(STAMP)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	PATH="$(abspath $(BIN)):$$PATH" PYTHONPATH=typings $(BIN)/pyright --verifytypes clerkmap --ignoreexternal  # it asks the first python there is

docs: $(STAMP)  ## run every piece of code in the README and the docs, and check their links
	$(BIN)/python -m pytest -q -n $(WORKERS) tests/docs

bench: $(STAMP)  ## the figures of docs/speed.md; make bench BENCH=--short for a look
	$(BIN)/python -m benchmarks $(BENCH)

mutants: $(STAMP)  ## small lies in the source, each of which a test must find
	$(BIN)/python tests/support/mutants.py

soak: $(STAMP)  ## the long forms of the tests that have one
	CLERKMAP_SOAK=1 $(BIN)/python -m pytest -n $(WORKERS) -m slow

clean:
	rm -rf $(VENV) tests/support/js/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage* dist build
