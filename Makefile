# Every target creates .venv by itself and installs only when pyproject.toml or constraints.txt changed.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS ?=

.PHONY: help validate test test-long test-slow attack mutants docs notebooks lint clean
help:
	@echo "make validate   install, then train matched networks, measure them and write the report"
	@echo "make test       install, then run the tests"
	@echo "make test-long  the tests that take a second or more each, which make test leaves out (10 to 15 minutes on 2 cores)"
	@echo "make test-slow  everything, with the checks that take minutes"
	@echo "make attack     decide 2 000 random claims, and attack every answer with an independent oracle"
	@echo "make mutants    change the layer and the judges in 100 places, and see whether the tests notice"
	@echo "make docs       build the documentation site into build/site"
	@echo "make notebooks  run docs/notebooks again and keep what the cells show"
	@echo "make lint       ruff and mypy"
	@echo "make papers     judge every claim again and compare with papers/ (2 to 6 minutes on 2 cores)"
	@echo "make clean      remove .venv, runs/ and caches"
	@echo "Options of the main job go in ARGS: make validate ARGS='--preset cpu --resume'"

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "bntheory needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# torch first and alone: the pinned wheel decides which build everything else is resolved against
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

validate: $(STAMP)
	$(BIN)/python validation/compare_empirical.py $(ARGS)

test: $(STAMP)
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m 'not slow and not long' $(ARGS)

test-long: $(STAMP)
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m 'long and not slow' $(ARGS)

test-slow: $(STAMP)
	$(BIN)/python -m pytest -q $(ARGS)

attack: $(STAMP)
	$(BIN)/python -m pytest -q -s tests/judges/oracle/test_random_claims.py -k two_thousand $(ARGS)

mutants: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt 'cosmic-ray>=8.4' pytest-cov
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python tests/mutants.py $(ARGS)

docs: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet -f docs/mkdocs.yml
	@echo "open build/site/index.html"

notebooks: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/python docs/execute_notebooks.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

papers: $(STAMP)
	$(BIN)/bntheory papers --check

clean:
	rm -rf $(VENV) runs .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
