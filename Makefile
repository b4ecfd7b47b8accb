# The environment .venv is installed from requirements.lock; each target installs it if it is missing or outdated.
#
#   make run    score the simulated CRM        make run SOURCE=<folder or postgresql://…>   score your own
#   make map SOURCE=…    look at your own CRM and write a mapping for it; YES=1 asks nothing
#   make check SOURCE=<folder or postgresql://…>   what a run would find in a source and do with it, in seconds
#   make recompute DAYS=2026-03-01...2026-03-07   compute the features of these days anew
#   make ui     open the Dagster UI            make test, make lint, make bench [BENCH=<name>]
#
# Settings: SOURCE, MAPPING, AS_OF, HORIZON (days of the conversion model), WAREHOUSE (a postgresql:// address, or
# postgres for a server that Leadline starts in the home), HOME_DIR, PUBLISHED, PUBLISHED_GROUP, PORT. See
# docs/settings.md.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PORT ?= 3000

ifdef SOURCE
export LEADLINE_SOURCE := $(SOURCE)
endif
ifdef MAPPING
export LEADLINE_MAPPING := $(MAPPING)
endif
ifdef AS_OF
export LEADLINE_AS_OF := $(AS_OF)
endif
ifdef HORIZON
export LEADLINE_CONVERSION_HORIZON_DAYS := $(HORIZON)
endif
ifdef WAREHOUSE
export LEADLINE_WAREHOUSE := $(WAREHOUSE)
endif
ifdef HOME_DIR
export LEADLINE_HOME := $(HOME_DIR)
endif
ifdef PUBLISHED
export LEADLINE_PUBLISHED := $(PUBLISHED)
endif
ifdef PUBLISHED_GROUP
export LEADLINE_PUBLISHED_GROUP := $(PUBLISHED_GROUP)
endif

.PHONY: run score map check recompute ui test coverage lint format bench lock clean

run: $(READY)
	@$(BIN)/python -m orchestration run

score: $(READY)
	@$(BIN)/python -m orchestration run --job score_leads

map: $(READY)
	@$(BIN)/python -m orchestration map $(if $(filter-out 0,$(YES)),--yes)

check: $(READY)
	@$(BIN)/python -m orchestration check

recompute: $(READY)
	@$(BIN)/python -m orchestration recompute "$(DAYS)"

ui: $(READY)
	@$(BIN)/python -m orchestration ui --port $(PORT)

test: $(READY)
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

# Takes a third longer than the tests alone.
coverage: $(READY)
	@$(BIN)/python -m pytest --cov --cov-report=term --cov-fail-under=85 $(PYTEST_ARGS)

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/sqlfluff lint --processes 0 --disable-progress-bar dbt_project

format: $(READY)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(READY)
	@$(BIN)/python -m benchmarks $(BENCH)

# The lock names no registry and is valid for every supported Python. This target needs uv on the PATH.
lock:
	uv pip compile --universal --python-version 3.11 --extra bench --extra dev --no-emit-index-url --no-header --no-annotate -o requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) dbt_project/target dbt_project/logs

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Leadline needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make run PYTHON=python3.12"; exit 1; }
	@echo "Setting up $(VENV) (a few minutes, once)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $(READY)
