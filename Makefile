# Uses the Python of .venv when there is one: python3 -m venv .venv && .venv/bin/pip install -e '.[dev]'
PYTHON ?= $(if $(wildcard .venv/bin/python),.venv/bin/python,python3)

.PHONY: check fix test bench campaign

check: ## all that must hold before a commit
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
	$(PYTHON) -m pytest

fix: ## format, and mend what can be mended without thinking
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

test:
	$(PYTHON) -m pytest

campaign: ## every promise about money, tried for hours: NAMES="kills starts" for some of them
	$(PYTHON) -m tests.campaigns $(NAMES)

bench: ## ratios, not seconds: they hold on any machine
	set -e; for file in benchmarks/*.py; do echo "== $$file"; $(PYTHON) "$$file"; done
