# Everything that a developer runs. Nothing but make and Python >= 3.11 need be there before.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do command -v $$p >/dev/null 2>&1 && \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin

.PHONY: demo screens test check lint types layers lab lab-all bench clean

.venv/.installed: pyproject.toml setup.py
	@test -n "$(PYTHON)" || { echo "make: no Python >= 3.11 found; set PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "installing into .venv (once)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: .venv/.installed ## what a broken cluster looks like, from a recording
	@echo "== a night with four faults at once, seen through the API"; echo
	@$(BIN)/kdiag check --snapshot fixtures/clusters/demo; test $$? -eq 1
	@echo; echo "== the API server is dead: the nodes tell why"; echo
	@$(BIN)/kdiag check --snapshot fixtures/clusters/broken-etcd-certificate-path; test $$? -eq 1

screens: .venv/.installed ## make the pictures of the documentation anew
	$(BIN)/python docs/screenshots

test: .venv/.installed ## all tests that need no cluster
	$(BIN)/python -m pytest -q -n auto

lint: .venv/.installed
	$(BIN)/ruff check --quiet --output-format concise kdiag checks tests
	$(BIN)/ruff format --check --quiet kdiag checks tests

types: .venv/.installed
	$(BIN)/mypy

layers: .venv/.installed
	$(BIN)/lint-imports

check: lint types layers test ## what must pass before a commit

lab: .venv/.installed ## break a real cluster, fault by fault: one of each mechanism
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -q -m "lab and core" tests/lab

lab-all: .venv/.installed ## every fault and every practice scenario, a few hours; writes docs/accuracy.md
	@rm -f .lab-results.jsonl
	PATH="$(CURDIR)/$(BIN):$$PATH" KDIAG_LAB_RESULTS="$(CURDIR)/.lab-results.jsonl" \
		$(BIN)/python -m pytest -q -m lab tests/lab; status=$$?; \
		$(BIN)/python -m tests.lab.accuracy .lab-results.jsonl > docs/accuracy.md; exit $$status

bench: .venv/.installed ## time and memory at 150,000 pods beside client-go
	tests/bench/run

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
