# Everything a person or CI runs. GNU make 3.81 or newer and a python3 of at least 3.11 are all it needs.
.DEFAULT_GOAL := help
.PHONY: help install install-dev demo up test nightly replay race fuzz badday gameday soak mutants lint bench lock clean

VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.stamp-runtime
DEV := $(VENV)/.stamp-dev
CHROMIUM := $(VENV)/.stamp-chromium
PYTHONS := $(PYTHON) python3.11 python3.12 python3.13 python3
# Twice the cores of a small machine: many tests wait for servers, and leave a core free.
PYTEST_WORKERS ?= 4
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --quiet
PIP_TOOLS := pip-tools==7.6.2

# bash counts its own SECONDS: only what was said to this make (or exported to it) counts here.
ASKED_SECONDS := $(if $(filter command environment,$(firstword $(origin SECONDS))),$(SECONDS))
DEMO_OPTIONS := $(if $(ASKED_SECONDS),--seconds '$(ASKED_SECONDS)') $(if $(JSON),--json)

# Tests start hundreds of processes; one that may not keep its bytecode compiles all our modules again.
unexport PYTHONDONTWRITEBYTECODE

STATE_MACHINE = WATERTIGHT_PROFILE='$(or $(PROFILE),nightly)' WATERTIGHT_SEED='$(or $(SEED),1)'

help:  ## show these lines
	@awk -F ':.*##' '/^[a-z-]+:.*##/ {printf "make %-12s%s\n", $$1, $$2}' Makefile

install: $(RUNTIME)  ## make .venv with the locked runtime packages and the watertight command

install-dev: $(DEV)  ## the same, with what the tests and linters need

demo: $(RUNTIME)  ## show the promise on a small world of our own (SECONDS=30, JSON=1)
	@$(BIN)/watertight demo $(DEMO_OPTIONS)

up: $(RUNTIME)  ## start everything here: database, broker, emulators, workers, web, Flower (ARGS=...)
	@$(BIN)/watertight up $(ARGS)

test: lint $(CHROMIUM)  ## all that CI runs: lint, then every test (PYTEST_WORKERS=4, ARGS=...)
	@$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadgroup -rs $(ARGS)

# Two halves beside each other: make nightly STEPS=50000, and the same with SEED=100001.
nightly: $(DEV)  ## the state machine for long (STEPS=100000, SEED=1: the first of as many seeds as it takes)
	@$(STATE_MACHINE) WATERTIGHT_STEPS='$(or $(STEPS),100000)' $(BIN)/python -m pytest tests/property -n 0 -s $(ARGS)

replay: $(DEV)  ## the one round of the state machine that a failure names (SEED=1, PROFILE=nightly)
	@$(STATE_MACHINE) WATERTIGHT_STEPS=1 $(BIN)/python -m pytest tests/property -n 0 -s $(ARGS)

fuzz: $(DEV)  ## 100,000 damaged records for each vendor (WATERTIGHT_FUZZ=…, WATERTIGHT_SEED=…)
	@$(BIN)/python -m pytest tests/fuzz -n 0 -s -o 'python_files=fuzz_*.py' -o timeout=0 $(ARGS)

badday: $(DEV)  ## 20 agents, four vendors that misbehave at random, and a verdict (SECONDS=600, SEED=1, ARGS=...)
	@$(BIN)/python -m tests.badday.bad_day --seconds '$(or $(ASKED_SECONDS),600)' --seed '$(or $(SEED),1)' $(ARGS)

gameday: $(DEV)  ## seven faults in a whole stack, one after another: who is told what and when, and a verdict (ARGS=...)
	@$(BIN)/python -m tests.gameday.game_day $(ARGS)

soak: $(DEV)  ## half an hour at 60 % of capacity with faults: memory and queues must stay flat (SECONDS=1800, SEED=1, ARGS=...)
	@$(BIN)/python -m tests.soak.soak --seconds '$(or $(ASKED_SECONDS),1800)' --seed '$(or $(SEED),1)' $(ARGS)

mutants: $(DEV)  ## remove one guard at a time and see a test fail (ARGS='fence' for some of them)
	@$(BIN)/python tests/mutants.py $(ARGS)

lint: $(DEV)  ## ruff, its formatter, mypy, the import contracts, and vulnerabilities of what we lock
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet . || { echo "Not formatted: run $(BIN)/ruff format ."; exit 1; }
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python tests/advisories.py

race: $(DEV)  ## the race of eight commit workers at full size: 1,000 on one slot, 5,000 over 20 agents (ARGS=...)
	@WATERTIGHT_TEST_FULL=1 $(BIN)/python -m pytest tests/faults/test_race.py $(ARGS)

# Benchmarks are named bench_*.py so that make test does not collect them.
bench: $(DEV)  ## measure: tests/benchmarks/bench_*.py (ARGS=...)
	@if ls tests/benchmarks/bench_*.py >/dev/null 2>&1; \
	then $(BIN)/python -m pytest tests/benchmarks -o 'python_files=bench_*.py' -o timeout=0 -s $(ARGS); \
	else echo "No benchmarks yet: tests/benchmarks holds no bench_*.py."; fi

lock: $(DEV)  ## rebuild requirements*.lock from pyproject.toml (ARGS=--upgrade for newer versions)
	@set -e; tools=$$(mktemp -d); trap 'rm -rf "$$tools"' EXIT; \
	"$(BIN)/python" -m venv "$$tools"; "$$tools/bin/python" -m pip --disable-pip-version-check -q -q install '$(PIP_TOOLS)'; \
	compile="$$tools/bin/pip-compile --quiet --no-header --strip-extras --allow-unsafe --build-deps-for editable \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options"; \
	$$compile $(ARGS) --output-file requirements.lock pyproject.toml; \
	$$compile $(ARGS) --extra dev --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml
	@echo "requirements.lock and requirements-dev.lock are rebuilt: look at the difference, then make test."

clean:  ## remove .venv and caches; the state in .watertight stays
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find workers sync providers models tests -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is written last, so an interrupted install is simply done again.
$(VENV)/.stamp-venv:
	@$(find_python); \
	"$$python" -m venv --clear $(VENV) && touch $@

$(RUNTIME): requirements.lock pyproject.toml | $(VENV)/.stamp-venv
	@echo "Installing the locked packages into $(VENV) ..."
	@$(PIP) install -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): requirements-dev.lock $(RUNTIME)
	@echo "Installing the packages for tests and linters into $(VENV) ..."
	@$(PIP) install -r requirements-dev.lock
	@touch $@

# The booking page is tried in a real browser, which pip cannot bring. Tried once; without it only tests/browser is skipped.
$(CHROMIUM): | $(VENV)/.stamp-venv
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exec touch $@; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && command -v timeout >/dev/null; then \
	  echo "Installing Chromium for the tests of the booking page ..."; \
	  export DEBIAN_FRONTEND=noninteractive; \
	  { timeout 120 apt-get -qq update; timeout 300 apt-get -qq install -y --no-install-recommends chromium; } \
	    </dev/null >/dev/null 2>&1 || echo "Chromium could not be installed: tests/browser will be skipped."; \
	fi; touch $@

# A candidate must start (a pyenv shim may not), be new enough and be able to make a venv (Debian splits that off).
find_python = why="watertight needs Python 3.11 or newer, and none was found: install it, or say make PYTHON=/path/to/python3."; \
for python in $(PYTHONS); do \
  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
  "$$python" -c 'import venv, ensurepip' >/dev/null 2>&1 && { why=; break; }; \
  why="$$python cannot make virtual environments: install its venv package (on Debian: apt install python3-venv)."; \
done; \
if [ -n "$$why" ]; then echo "$$why" >&2; exit 1; fi
