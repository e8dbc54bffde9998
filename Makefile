# Every target does its own set-up, so each of them works in a fresh clone. `make` alone lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

python := .venv/bin/python
JOBS ?= 2
ARGS ?=

# A virtual environment holds its own path: in a copied or moved folder it has to be made again.
ifneq ($(shell cat .venv/home 2>/dev/null),$(CURDIR))
$(shell rm -f .venv/run.stamp .venv/dev.stamp)
endif

.PHONY: help
help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: setup
setup: .venv/dev.stamp ## Make .venv with everything for working on Knock

.PHONY: demo
demo: .venv/dev.stamp ## See a knock become an invite on a real homeserver, here and now
	@$(python) demo/demo.py

.PHONY: run
run: .venv/run.stamp ## Run Knock with the settings in .env; without one, ask for them first
	@[ -f .env ] || $(python) -m mknock setup
	@exec $(python) -m mknock serve

.PHONY: test
test: .venv/dev.stamp ## Run every test (ARGS="tests/unit -k cooldown" runs some)
	@tools/setup.sh compose
	@tools/setup.sh databases
	@tools/setup.sh browser
	@$(python) -m pytest -n $(JOBS) --dist loadgroup -p tests.plugin_no_skips -p tests.plugin_promises $(ARGS)

.PHONY: lint
lint: .venv/dev.stamp ## Check style, types, layers, scripts and the Dockerfile
	@$(python) -m ruff check
	@$(python) -m ruff format --check
	@$(python) -m mypy
	@.venv/bin/lint-imports
	@.venv/bin/shellcheck .ci/run tools/*.sh
	@.venv/bin/hadolint Dockerfile

.PHONY: bench
bench: .venv/dev.stamp ## Measure Knock against bare servers, in one run (ARGS="accept stub" runs some parts)
	@$(python) bench/run.py $(ARGS)

.PHONY: sizes
sizes: .venv/dev.stamp ## Show the longest functions and files
	@$(python) tools/sizes.py

.PHONY: docs
docs: .venv/dev.stamp ## Write the generated parts of docs/ anew
	@$(python) tools/draw_lifecycle.py
	@$(python) tools/write_cli_help.py

.PHONY: requirements
requirements: .venv/dev.stamp ## Pin the requirement files anew (ARGS=--upgrade for newer releases)
	@tools/pin-requirements.sh $(ARGS)

.PHONY: clean
clean: ## Remove .venv and everything that was made
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/run.stamp: requirements.txt requirements-build.txt pyproject.toml
	@tools/setup.sh run

.venv/dev.stamp: requirements-dev.txt pyproject.toml
	@tools/setup.sh dev
