PYTHON ?= python

.PHONY: help lint format test check faults

help: ## show this help
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/'

lint: ## ruff, pyright (strict on embedkit and cli), import-linter
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m pyright --pythonpath "$$($(PYTHON) -c 'import sys; print(sys.executable)')"
	$(PYTHON) -c "from importlinter.cli import lint_imports_command; lint_imports_command()"

format: ## let ruff rewrite the code
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

test: ## the test suite, warnings as errors
	$(PYTHON) -m pytest

check: lint test ## what CI runs

faults: ## the long fault runs of the store: kills, full disks, flipped bits (about five minutes)
	$(PYTHON) -m benchmarks.store_faults
