# The environment at hand where it has the tools of `pip install '.[test]'`, else one of our own.
PYTHON ?= $(shell python3 -c 'import ruff, pyright, importlinter, pytest' 2>/dev/null && echo python3 || echo .venv/bin/python)
ENVIRONMENT := $(if $(filter .venv/%, $(PYTHON)),.venv/installed)

.PHONY: help lint format test check faults fuzz pages benchmarks

help: ## show this help
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/'

lint: $(ENVIRONMENT) ## ruff, pyright (strict on embedkit and cli), import-linter
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m pyright --pythonpath "$$($(PYTHON) -c 'import sys; print(sys.executable)')"
	$(PYTHON) -c "from importlinter.cli import lint_imports_command; lint_imports_command()"

format: $(ENVIRONMENT) ## let ruff rewrite the code
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

test: $(ENVIRONMENT) ## the test suite, warnings as errors
	$(PYTHON) -m pytest

check: lint test ## what CI runs

faults: $(ENVIRONMENT) ## the long fault runs of the store: kills, full disks, flipped bits (about five minutes)
	$(PYTHON) -m benchmarks.store_faults

benchmarks: $(ENVIRONMENT) ## all benchmarks, what got slower since the stored results, and docs/benchmarks.md (hours)
	$(PYTHON) -m benchmarks.all

ASSETS ?= $(or $(EMBEDKIT_TEST_ASSETS),../shared)
pages: $(ENVIRONMENT) ## the pages of two real data sets, for the documentation (docs/pages, not committed)
	mkdir -p docs/pages
	for data in grocery pacs; do \
		$(PYTHON) -c 'from embedkit_cli.main import main; main()' probe $(ASSETS)/data/$$data/split.csv \
			--report docs/pages/$$data.html --force || exit 1; done

fuzz: $(ENVIRONMENT) ## 40,000 changed files of every kind that is read, and what becomes of them (about half an hour)
	$(PYTHON) -m benchmarks.fuzz

# A file of its own says that it is whole: what an interrupted installation has brought in stays, and the next goes on.
.venv/installed: pyproject.toml
	python3 -m venv .venv
	.venv/bin/pip install --quiet --editable '.[test]'
	touch $@
