# What a contributor runs. Every target makes its own .venv with plain Python and pip; nothing else is assumed.
# PYTHON: the interpreter to build the .venv with (3.11 or later).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
SOURCES := src tests tools

# The tests start our command a thousand times: where Python may not keep compiled code it compiles it each time.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo test lint pytest contracts test-both soak bench docs clean
.DEFAULT_GOAL := help

help:  ## Say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1|/' | column -t -s '|'

demo: $(READY)  ## See Holdfast at work on real files, each claim checked (about a minute)
	@$(BIN)/python tools/demo.py

test: lint pytest  ## All that must pass before a change is shared: lint, types, architecture, tests, documents

lint: $(READY)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/mypy --strict tests/typing/api.py
	$(BIN)/lint-imports

# Three at once on two cores: some wait for a disk or a lock.
pytest: $(READY)
	HOLDFAST_TESTS_NEED=postgresql $(BIN)/python -m pytest -n 3 --dist worksteal

contracts: $(READY)  ## What calls promise and what is always so, checked in all that the main rooms' tests do
	HOLDFAST_CONTRACTS=on $(BIN)/python -m pytest tests/kinds tests/tenants tests/engine tests/index tests/conformance -n 3 --dist worksteal

test-both: $(READY)  ## The suites of kinds, care and exchange with every index in PostgreSQL (half an hour)
	HOLDFAST_TESTS_NEED=postgresql $(BIN)/python -m pytest -m "(postgres or postgres_full) and not soak" -n 2 --dist worksteal

soak: $(READY)  ## The long labs (two to three hours); their counts become the table in docs/reliability.md
	@rm -f soak-tally.jsonl soak-tally.jsonl.failed
	HOLDFAST_TALLY=$(CURDIR)/soak-tally.jsonl $(BIN)/python -m pytest -m "soak or postgres_full" -n 2 --dist worksteal -o faulthandler_timeout=0
	$(BIN)/python tools/reliability.py soak-tally.jsonl

bench: $(READY)  ## Ours and the peers side by side (an hour and a half, 10 GB under bench-work); writes docs/performance.md
	tools/bench/install_peers.sh $(BIN)/python
	$(BIN)/python tools/bench/bench.py run bench-work
	$(BIN)/python tools/bench/bench.py grow bench-work/grown --largest bench-work/results.jsonl
	$(BIN)/python tools/bench/bench.py page bench-work/results.jsonl --grown bench-work/grown

docs: $(READY)  ## Write docs/reference anew from the program
	$(BIN)/python tools/generate_docs.py

clean:  ## Remove what the other targets made
	rm -rf $(VENV) demo-work bench-work soak-tally.jsonl* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is newer than what the environment was made from, so it is made once and again after a change of it.
# Not compiled at once: what is never imported need not be, and that saves a newcomer a third of the time.
$(READY): pyproject.toml tools/dev_requirements.py tools/install_system_packages.sh
	@tools/install_system_packages.sh
	@echo "Making $(VENV) (once) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python tools/dev_requirements.py > $(VENV)/dev-requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --editable . \
		--requirement $(VENV)/dev-requirements.txt
	@touch $@
