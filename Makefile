# Everything a newcomer needs: `make demo`, `make test`. Each target sets itself up and is quick the second time.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
export UV_COMPILE_BYTECODE := 1
export DO_NOT_TRACK := 1
# The tests start some two thousand processes: without cached bytecode each compiles the package anew.
unexport PYTHONDONTWRITEBYTECODE

# pdoc warns of what it cannot read or resolve. Warnings of the libraries that it imports are not ours.
PDOC_ERRORS := $(foreach module,doc doc_types docstrings extract render render_helpers,-W error:::pdoc.$(module)) \
	-W "ignore:Error parsing type annotation _t."  # private to requests

TESTS := $(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not soak"

.DEFAULT_GOAL := help

$(READY): requirements.lock requirements-uv.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not on this machine: Penstock needs Python 3.11-3.13: run make PYTHON=python3.12 setup"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3,11) <= sys.version_info < (3,14) else "Penstock needs Python 3.11-3.13, this is %d.%d: run make PYTHON=python3.12 setup" % sys.version_info[:2])'
	@echo "set-up 1 of 4: a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@echo "set-up 2 of 4: uv, the installer"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	@echo "set-up 3 of 4: the pinned libraries, downloaded (400 MB), checked and compiled: two minutes or so, once"
	@$(BIN)/uv pip install --python $(BIN)/python --require-hashes -r requirements.lock
	@echo "set-up 4 of 4: Penstock itself"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $(READY)

.PHONY: help setup demo test coverage check format docs lock up down bench crash soak days clients timescaledb clean

help: ## What can be done here
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /|/' | column -t -s '|'

setup: $(READY) ## Virtual environment, pinned requirements, the package itself
	@echo "set-up done. Next: make demo, or make up and then, for the commands of README: source $(BIN)/activate"

demo: $(READY) ## The whole line, from a venue's wire to a reconciled account, in about half a minute
	$(BIN)/penstock demo

test: $(READY) ## All tests but the long soaks
	$(TESTS)

coverage: $(READY) ## The share of the code that the tests run: by unit tests alone, with the contract suites, by all
	$(TESTS) tests/unit --cov --cov-report=
	@echo "unit tests: $$($(BIN)/coverage report --format=total)% of all lines," \
		"$$($(BIN)/coverage report --format=total --include='strategies/*')% of the strategies"
	$(TESTS) tests/contracts --cov --cov-append --cov-report=
	@echo "with the contract suites, which hold each adapter to its port: $$($(BIN)/coverage report --format=total)%"
	$(TESTS) --ignore tests/unit --ignore tests/contracts --cov --cov-append --cov-report=
	@echo "all tests: $$($(BIN)/coverage report --format=total)% of all lines"

check: $(READY) ## Lint, types, import directions, then the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) --no-print-directory test

format: $(READY) ## Put the code into house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

up: $(READY) ## Prefect, MLflow, the database and a worker for daily use
	$(BIN)/penstock up

down: ## End what `make up` started
	@if [ -x $(BIN)/penstock ]; then $(BIN)/penstock down; \
	elif [ -e .penstock/stack.json ]; then echo "$(VENV) is gone and a stack may still run: make setup, then make down"; exit 1; \
	else echo "nothing to end: there is no set-up in $(VENV)"; fi

bench: $(READY) ## Benchmarks, each beside its peer or limit
	@for bench in benchmarks/[a-z]*.py; do echo "== $$bench"; $(BIN)/python $$bench || exit 1; done

crash: $(READY) ## Kill, race and mislead real processes, thousands of times; each proof prints one line (an hour)
	$(BIN)/pytest -m soak tests/crash -s

soak: $(READY) ## Every long load, simulated days of minute slots among them (they stop by themselves)
	$(BIN)/pytest -m soak -s

days: $(READY) ## Seven simulated days of minute slots, 50 minutes of them per call: call it until it says 7.00 of 7
	PENSTOCK_SOAK_HOME=build/days PENSTOCK_SOAK_MINUTES=50 $(BIN)/pytest -m soak tests/soak -s

clients: $(READY) ## Foreign clients trade on the practice exchange, each as it is (15 minutes; CLIENT=basana runs one)
	$(BIN)/python -m tests.clients $(CLIENT)

timescaledb: $(READY) ## A real TimescaleDB in .timescaledb/, without Docker (Debian)
	scripts/timescaledb.sh

docs: $(READY) ## The API reference from the docstrings, in build/docs; a warning is an error
	$(BIN)/python $(PDOC_ERRORS) -m pdoc --docformat numpy --output-directory build/docs \
		penstock strategies '!penstock.adapters.mlflow.model' '!penstock.__main__'
	@echo "open build/docs/index.html"

lock: $(READY) ## Pin the newest versions that the constraints in pyproject.toml allow
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --generate-hashes --no-emit-index-url \
		--no-header --no-annotate pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra prefect --extra checks --extra search \
		--constraint requirements.lock --generate-hashes --no-emit-index-url --no-header --no-annotate pyproject.toml \
		--output-file deploy/requirements.lock

clean: ## Remove what can be made again (the data folder .penstock stays)
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
