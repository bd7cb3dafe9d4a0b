# Needs Python 3.11 or newer, git and make. Builds or installs everything else once, and keeps it in the user's cache.
STACK ?= dev

# Many images set it; with it, importing the SDKs takes four times as long.
unexport PYTHONDONTWRITEBYTECODE
# An Output in an f-string is a mistake that would otherwise go unnoticed.
export PULUMI_ERROR_OUTPUT_STRING := true

PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$name" && break; done)
RUN := .venv/bin/python -m rehearsal
# A stamp for exactly these requirements: other requirements, or an interrupted installation, have none.
STAMP := .venv/installed-$(shell cksum <requirements-dev.txt | cut -d' ' -f1)

.PHONY: help preview rehearse test unit lint shell bench setup generate lock clean

.DEFAULT_GOAL := preview

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

preview: $(STAMP) ## `pulumi preview` of the whole stack, rehearsed; DIFF=1: with every property
	@$(RUN) preview --stack $(STACK) $(if $(DIFF),--diff)

rehearse: $(STAMP) ## the life of a stack, step by step; ENGINE=cloudnative-pg: with its database run by that operator
	@$(RUN) rehearse --stack $(STACK) $(if $(ENGINE),--engine $(ENGINE))

shell: $(STAMP) ## a shell in which `pulumi up -s dev` and kubectl work against the rehearsal
	@$(RUN) shell

bench: $(STAMP) ## measures every figure of docs/figures.md and writes it there (WHAT=start|up|scale|backup|restore-parts|set-up: one group)
	@$(RUN) bench $(if $(WHAT),--what $(WHAT))

setup: $(STAMP) ## environment and tools, and nothing more
	@$(RUN) setup

# Three workers for two cores, which are idle for a twelfth of the time: tests wait for controllers and deadlines.
test: lint unit $(STAMP) ## everything; what CI runs
	@$(RUN) setup
	@echo "== contract, rehearsal and PostgreSQL tests (usually 50 min on two cores) =="
	@.venv/bin/python -m pytest --numprocesses 3 --dist loadfile --durations 10 tests/contract tests/rehearsal tests/database

unit: $(STAMP) ## the unit tests: less than a minute
	@echo "== unit tests (usually 40 s) =="
	@.venv/bin/python -m pytest --quiet --numprocesses auto --maxprocesses 4 --dist worksteal tests/unit

lint: $(STAMP) ## ruff, mypy, shellcheck
	@echo "== ruff, mypy, shellcheck (usually 30 s) =="
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check --quiet .
	@.venv/bin/mypy .
	@git ls-files -co --exclude-standard '*.sh' | xargs .venv/bin/shellcheck .ci/run

$(STAMP): # no file as prerequisite: the name contains the checksum, and git touches files without changing them
	@test -n "$(PYTHON)" || { echo "This needs Python 3.11 or newer, and PATH has none: install one from" \
		"https://www.python.org/downloads or your system's packages, or say where it is: make PYTHON=/path/to/python" >&2; exit 1; }
	@echo "== installing the pinned Python packages into .venv (usually 2 min) =="
	@$(PYTHON) -m venv --clear .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@.venv/bin/python -m compileall -q -j 0 .venv/lib >/dev/null 2>&1 || true
	@touch $@

generate: $(STAMP) ## every file that is made from the code: schema, docs/network.md, drawings, URNs
	@.venv/bin/python -m tests.unit.generate

# Renovate repeats the command in each file's header, and refuses options that it does not know or that have no `=`.
COMPILE := .venv/bin/uv pip compile --quiet --universal --python-version=3.11 --generate-hashes
lock: $(STAMP) ## requirements*.txt from requirements*.in
	@$(COMPILE) --output-file=requirements.txt requirements.in
	@$(COMPILE) --output-file=requirements-dev.txt requirements-dev.in

clean: ## deletes the environment and the tools' caches in this folder
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
