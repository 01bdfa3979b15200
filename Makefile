# `make help` lists the targets. Everything runs from .venv, which is made from a plain python3 and
# filled from the hashed locks in requirements/. The stamps lie in .venv, so removing it is enough to start over.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
PIP := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check --no-input
COMPILE := $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
           --no-emit-index-url --no-annotate --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)

# Thousands of small stores, each flushed to the disk as it must be: in memory they take two thirds of the time. What CI
# runs (`make check`) stays on the disk.
QUICK_TMP = $(shell [ -w /dev/shm ] && [ "$$(df -Pk /dev/shm | awk 'NR == 2 { print $$4 }')" -gt 4000000 ] \
              && echo /dev/shm || echo "$${TMPDIR:-/tmp}")

.DEFAULT_GOAL := help
.PHONY: help demo test test-s3 long check bench docs lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/demo.stamp ## dataset, training, evaluation, promotion: `art demo`
	@$(BIN)/art demo

test: $(VENV)/dev.stamp ## tests and doctests, without the slow ones
	@TMPDIR=$(QUICK_TMP) $(BIN)/python -m pytest -m "not slow and not long"

test-s3: $(VENV)/dev.stamp ## the tests of artifacts, lineage, runs and commands with the store in use in a bucket
	@LINEART_TEST_STORE=s3 $(BIN)/python -m pytest -m "not slow and not long" tests/artifacts tests/lineage tests/cli tests/tracking tests/integrations

long: $(VENV)/dev.stamp ## the tests that take many minutes each: what CI plays in part, in full
	@$(BIN)/python -m pytest -m long

check: export LINEART_TEST_MINISTACK := $(abspath $(VENV))/ministack/bin/ministack
check: export LINEART_TEST_MODEL_SIGNING := $(abspath $(VENV))/model-signing/bin/model_signing
check: $(VENV)/dev.stamp $(VENV)/ministack.stamp $(VENV)/model-signing.stamp $(VENV)/frameworks.stamp ## all that CI runs: format, lint, types, layers, docs, tests
	@$(BIN)/ruff format --check --quiet . || { echo 'not formatted; run "$(BIN)/ruff format ."' >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/pyright
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python docs/generate_cli.py --check
	@$(BIN)/python docs/generate_policies.py --check
	@$(BIN)/python -m pytest -m "not long"

bench: $(VENV)/dev.stamp ## run every benchmark: seconds, bytes and ratios
	@set -e; for file in benchmarks/[!_]*.py; do echo "== $$file"; $(BIN)/python "$$file"; done

docs: $(VENV)/dev.stamp ## write docs/cli.md anew from the commands
	@$(BIN)/python docs/generate_cli.py
	@$(BIN)/python docs/generate_policies.py

lock: $(VENV)/made.stamp ## write requirements/*.lock anew from pyproject.toml; UPGRADE=1 takes the newest releases
	@$(PIP) install uv
	@$(COMPILE) --extra s3 --extra postgres --extra demo --group dev --output-file requirements/dev.lock
	@$(BIN)/uv pip compile requirements/ministack.in $(wordlist 5,99,$(COMPILE)) --output-file requirements/ministack.lock
	@$(BIN)/uv pip compile requirements/model-signing.in $(wordlist 5,99,$(COMPILE)) --output-file requirements/model-signing.lock
	@$(COMPILE) --extra demo --group build --constraints requirements/dev.lock --output-file requirements/demo.lock

clean: ## remove .venv, caches and what builds left behind
	@rm -rf $(VENV) build dist src/*.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A working .venv is kept as it is; else the first interpreter that is new enough and able to make one is taken.
$(VENV)/made.stamp:
	@for python in $(BIN)/python "$(PYTHON)" python3 python3.13 python3.12 python3.11; do \
	  "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
	  if [ "$$python" != $(BIN)/python ]; then "$$python" -m venv --clear $(VENV) || exit 1; fi; \
	  touch $@; exit 0; \
	done; \
	echo 'No usable Python: 3.11 or newer with venv and ensurepip is needed (on Debian and Ubuntu: "apt-get install python3 python3-venv"); or name one: "make PYTHON=/path/to/python3"' >&2; exit 1

# The second S3 server of the tests pins a botocore that s3fs does not take; what checks model signatures brings thirty
# packages. So each lives in an environment of its own.
$(VENV)/ministack.stamp $(VENV)/model-signing.stamp: $(VENV)/%.stamp: requirements/%.lock $(VENV)/made.stamp
	@$(BIN)/python -m venv --clear $(VENV)/$*
	@$(VENV)/$*/bin/pip --quiet --quiet --disable-pip-version-check --no-input install \
	  --require-hashes --requirement $<
	@touch $@

# Frameworks come without hashes: torch has builds without CUDA only outside of the index. Where they cannot be had,
# the tests that need them are skipped.
$(VENV)/frameworks.stamp: requirements/frameworks.txt $(VENV)/dev.stamp
	@echo 'installing $< into $(VENV)' >&2
	@$(BIN)/python -m pip freeze --exclude-editable > $(VENV)/constraints.txt
	@$(PIP) install --requirement $< --constraint $(VENV)/constraints.txt || \
	  echo 'not all of $< could be installed; tests that need them will be skipped' >&2
	@touch $@

$(VENV)/%.stamp: requirements/%.lock pyproject.toml $(VENV)/made.stamp
	@echo 'installing $< into $(VENV)' >&2
	@$(PIP) install --require-hashes --requirement $<
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@
