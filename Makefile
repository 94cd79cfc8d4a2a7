# Two commands matter: `make quickstart` trains, evaluates and reports on the
# machine at hand; `make test` proves the code. Both install what they need.

PYTHON ?= python3
VENV ?= .venv
CONFIG ?= configs/quickstart.py
WORKDIR ?= runs/quickstart
PYTEST_ARGS ?=
ROOM ?= all
COUNT ?= 30
SEED ?= 0
JOBS ?= 1

SUPPORTED := 3.11 3.12
VERSION := $(shell $(PYTHON) -c \
  'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
CONSTRAINTS := requirements/constraints-$(VERSION).txt

# A stamp per Python: the same venv directory never mixes two of them.
INSTALLED := $(VENV)/.installed-$(VERSION)
INSTALLED_DEV := $(VENV)/.installed-dev-$(VERSION)
PIP_INSTALL := $(VENV)/bin/python -m pip install --quiet

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install install-dev quickstart smollm2 reproduce lab \
  rlhf-small benchmarks benchmark-decoding test test-core test-slow \
  test-parity mutants counts lint types clean check-python

help:  ## list the targets
	@awk 'BEGIN { FS = ":.*## " } \
	  /^[a-z0-9-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' Makefile
	@echo "Variables: PYTHON=$(PYTHON) VENV=$(VENV)" \
	  "CONFIG=$(CONFIG) WORKDIR=$(WORKDIR)"

install: $(INSTALLED)  ## the library with the extras data, viz and hf

install-dev: $(INSTALLED_DEV)  ## the same, with what tests and lint need

quickstart: $(INSTALLED)  ## data, SFT, reward model, IPO, evaluation, report
	$(VENV)/bin/python experiments/train.py --config=$(CONFIG) \
	  --workdir=$(WORKDIR)

smollm2: $(INSTALLED)  ## a real pretrained model, fetched and asked (93 MB)
	$(VENV)/bin/python experiments/smollm2.py

reproduce: export JAX_PLATFORMS = cpu
reproduce: $(INSTALLED)  ## published illustrations again: docs/reproductions.md
	$(VENV)/bin/python experiments/reproduce/all.py

lab: export JAX_PLATFORMS = cpu
lab: $(INSTALLED)  ## the trainer held against exact optima: docs/lab.md
	$(VENV)/bin/python -m experiments.studies.lab

rlhf-small: export JAX_PLATFORMS = cpu
rlhf-small: $(INSTALLED)  ## twelve methods on human ratings: docs/rlhf_small.md
	$(VENV)/bin/python -m experiments.studies.rlhf_small

benchmarks: $(INSTALLED)  ## ratios against a baseline in the same run
	$(VENV)/bin/python benchmarks/losses.py
	$(VENV)/bin/python benchmarks/nash_md.py
	$(VENV)/bin/python benchmarks/models.py
	$(VENV)/bin/python benchmarks/online.py
	$(VENV)/bin/python benchmarks/import_memory.py

# After `make test-parity`, which brings transformers, and `make smollm2`.
benchmark-decoding: $(INSTALLED)  ## tokens a second against transformers
	$(VENV)/bin/python benchmarks/decoding.py

# Compiled programs are kept between runs: the second run of the tests is
# about twice as fast. The tests describe a CPU with eight devices.
test test-core test-slow test-parity mutants counts: export JAX_PLATFORMS = cpu
test test-core test-slow test-parity mutants counts: export JAX_COMPILATION_CACHE_DIR = $(CURDIR)/.cache/jax
test test-core test-slow test-parity mutants counts: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS = 0.2

test: $(INSTALLED_DEV)  ## every test that is neither slow nor on the network
	$(VENV)/bin/python -m pytest -n 2 $(PYTEST_ARGS)

test-core: $(INSTALLED_DEV)  ## imports, losses and array maths only
	$(VENV)/bin/python -m pytest -n 2 $(PYTEST_ARGS) \
	  tests/test_imports.py tests/losses tests/ops

test-slow: $(INSTALLED_DEV)  ## the rest: long tests, and real data fetched
	$(VENV)/bin/python -m pytest -n 2 -m 'slow or network' $(PYTEST_ARGS)

test-parity: $(INSTALLED_DEV)  ## the model zoo against transformers (Python 3.11)
	@$(PIP_INSTALL) -c $(CONSTRAINTS) -e '.[data,viz,hf,dev,parity]'
	$(VENV)/bin/python -m pytest -m parity $(PYTEST_ARGS) \
	  tests/models tests/data

mutants: $(INSTALLED_DEV)  ## mistakes that the tests of ROOM=losses would not see
	$(VENV)/bin/python -m tests.mutants --room=$(ROOM) --count=$(COUNT) \
	  --seed=$(SEED) --jobs=$(JOBS)

counts: $(INSTALLED_DEV)  ## circles, retired words, annotations, comments
	$(VENV)/bin/python -m tests.counts --run

lint: $(INSTALLED_DEV)  ## ruff: rules and formatting
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m ruff format --check .

types: $(INSTALLED_DEV)  ## pyright (basic) over the library
	$(VENV)/bin/basedpyright --pythonpath $(VENV)/bin/python

clean:  ## remove caches and build products; keep venvs, data and runs
	rm -rf .cache/jax .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	find alignment_jax configs experiments tests -name __pycache__ -type d \
	  -prune -exec rm -rf {} +

check-python:
	@case " $(SUPPORTED) " in \
	  *" $(VERSION) "*) ;; \
	  *) echo "error: PYTHON=$(PYTHON) is" \
	      "$(if $(VERSION),Python $(VERSION),not a Python that runs);" \
	      "supported: $(SUPPORTED)." \
	      "Try: make $(or $(firstword $(MAKECMDGOALS)),install)" \
	      "PYTHON=python3.12" >&2; \
	    exit 1 ;; \
	esac

# `wildcard`: for a Python without constraints, check-python has the word.
$(INSTALLED): setup.py pyproject.toml $(wildcard $(CONSTRAINTS)) | check-python
	@found=$$($(VENV)/bin/python -c \
	  'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null); \
	if [ "$$found" != "$(VERSION)" ]; then \
	  echo "$(VENV): $${found:+replacing the one of Python $$found, }creating" \
	    "it with Python $(VERSION)"; \
	  $(PYTHON) -m venv --clear $(VENV); \
	fi
	@echo "$(VENV): installing alignment-jax with $(CONSTRAINTS)"
	@$(PIP_INSTALL) --upgrade pip
	@$(PIP_INSTALL) -c $(CONSTRAINTS) -e '.[data,viz,hf]'
	@touch $@

$(INSTALLED_DEV): $(INSTALLED)
	@echo "$(VENV): adding what tests and lint need"
	@$(PIP_INSTALL) -c $(CONSTRAINTS) -e '.[data,viz,hf,dev]'
	@touch $@
