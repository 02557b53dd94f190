# Every target works on a fresh machine that has only python3 (3.11 or newer) and make.
# `make help` lists them; `make setup` is a part of each.

PYTHON ?= python3
WORKERS ?= 3
BIN := .venv/bin
STAMP := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test run contract check bench format openapi lock

help: ## List the targets.
	@sed -n 's/^\([a-z]*\):[^#]*## /  make \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18

setup: $(STAMP) ## Create .venv from the hashed lock (quick when nothing changed).

# The lock alone decides what is installed: a constraint file of the machine is not asked (PIP_CONSTRAINT), and the
# project itself is built with the backend that the lock holds, so nothing outside the lock is downloaded.
$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cardrail needs Python 3.11 or newer")'
	@echo "Creating .venv from requirements-dev.lock (once; a minute or so)"
	@$(PYTHON) -m venv .venv
	@PIP_CONSTRAINT=/dev/null PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.lock
	@PIP_CONSTRAINT=/dev/null PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: $(STAMP) ## Take a fleet of accounts through the whole guide against the sandbox.
	@$(BIN)/cardrail demo $(ARGS)

run: $(STAMP) ## Service, worker and sandbox until Ctrl-C.
	@exec $(BIN)/cardrail run $(ARGS)

test: $(STAMP) ## The whole test suite (WORKERS=n to use n processes, ARGS=... for pytest).
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

contract: $(STAMP) ## The API against its description at length (minutes): every phase of Schemathesis.
	@CONTRACT=full $(BIN)/python -m pytest -n 0 tests/contract $(ARGS)

check: $(STAMP) ## Format, lint, types, import rules, tidiness, openapi and migrations.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q -n 0 tests/test_tidy.py tests/test_codes.py tests/web/test_openapi.py
	$(BIN)/cardrail openapi --check
	$(BIN)/cardrail migrate --check

bench: $(STAMP) ## Measure receive, apply and authorize; prints ratios.
	@$(BIN)/python -m tests.bench $(ARGS)

format: $(STAMP) ## Rewrite the code in the agreed form and fix what can be fixed safely.
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

openapi: $(STAMP) ## Write openapi.yaml and docs/problems.md from the code.
	$(BIN)/cardrail openapi --write

# Needs `uv` on the PATH; the lock names no index, so any mirror serves.
lock: ## Resolve both locks again from pyproject.toml.
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock
