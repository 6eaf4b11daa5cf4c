# What can be made here: `make help`. Needed beforehand: Python 3.11 or newer, and make.
# Another Python than the first suitable one: `make test PYTHON=/path/to/python3.13`.

PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.13 python3.14; do \
	"$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)

# Test processes at once. 0: all in one process, for a debugger.
WORKERS ?= 2

BIN := .venv/bin
PIP_INSTALL := -m pip install -qq --disable-pip-version-check

# The modules that neither wait nor read a clock: nothing keeps a test from reaching every branch of them.
CORE := aiai_async/wire/*,aiai_async/policy/*,aiai_async/_schemas.py,aiai_async/_models.py,aiai_async/_costs.py,aiai_async/_prices.py,aiai_async/_tokens.py,aiai_async/_facts.py,aiai_async/_errors.py,aiai_async/_secret.py

# What is type-checked, as far as it is there.
TYPED := $(wildcard aiai_async tools examples tests/typing benchmarks)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test lint format system unit build wheels lowest ratelimit bench bench-items clean

## help: this list
help:
	@sed -n 's/^## //p' Makefile

## demo: make a handful of images with the local server, no key and no network needed, into demo/
demo: .venv/user.stamp
	@rm -rf demo
	$(BIN)/aiai-async generate --local --model gpt-image-1 --size 1024x1024 --out demo/lighthouse.png "A lighthouse at dusk"
	$(BIN)/aiai-async generate --local --model gpt-image-1 --size 1536x1024 --output-format jpeg --out demo/harbour.jpg "Fog over a harbour"
	$(BIN)/aiai-async generate --local --model gpt-image-1 --size 1024x1536 --output-format webp --out demo/tower.webp "A tower of books"
	$(BIN)/aiai-async generate --local --model gpt-image-1 --background transparent --out demo/kite.png "A red kite, nothing behind it"
	$(BIN)/aiai-async generate --local --model dall-e-3 --size 1792x1024 --out demo/valley.png "A valley at noon, downloaded from its URL"
	$(BIN)/aiai-async generate --local --model dall-e-2 --size 256x256 --n 2 --out demo "A pair of icons"
	@echo; echo "The images are in $(CURDIR)/demo:"; ls demo

## test: every check: lint, tests with coverage, build, the wheel on two Pythons, the lowest versions
test: lint unit build wheels lowest
	@echo "make test: all checks passed"

## lint: style, types and the layers
lint: .venv/dev.stamp
	@echo "--- lint: ruff"
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@echo "--- lint: mypy"
	@$(BIN)/mypy $(TYPED)
	@echo "--- lint: pyright"
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python $(TYPED)
	@echo "--- lint: layers"
	@$(BIN)/lint-imports --no-logo

## format: put the code into its form, and fix what can be fixed without thinking
format: .venv/dev.stamp
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

## system: install the system programs that tests use (a browser, a terminal), as root with apt-get
system: .venv/dev.stamp
	@$(BIN)/python tools/system_programs.py

## unit: the tests, then coverage: 100 % of the core, 90 % of the package (one process: WORKERS=0)
unit: .venv/dev.stamp system
	@echo "--- unit: pytest"
	@$(BIN)/python -m pytest -q -n $(WORKERS) --cov --cov-report=
	@echo "--- unit: coverage of the core, 100 % of lines and branches"
	@$(BIN)/coverage report --include='$(CORE)' --fail-under=100
	@echo "--- unit: coverage of the package, at least 90 %"
	@$(BIN)/coverage report --fail-under=90

## build: the sdist, and from it the wheel, into dist/
build: .venv/dev.stamp
	@echo "--- build: sdist and wheel"
	@rm -rf dist
	@$(BIN)/python -m build --outdir dist >build.log 2>&1 || { cat build.log; rm -f build.log; exit 1; }
	@rm -f build.log
	@ls dist

## wheels: install the wheel into an empty environment and import it, on the oldest and the newest Python here
wheels: build
	@echo "--- wheels: the wheel as a user gets it"
	@pythons=$$($(BIN)/python tools/pythons.py) && $(BIN)/python tools/check_wheel.py $$pythons

## lowest: the tests with the oldest versions of the dependencies that pyproject.toml allows, on the oldest Python here
lowest: .venv-lowest/dev.stamp system
	@echo "--- lowest: pytest with the oldest dependencies allowed"
	@# Without the pages in a browser: what they do doesn't hang on these versions, and they take long.
	@.venv-lowest/bin/python -m pytest -q -n $(WORKERS) --ignore-glob='*browser*'

## ratelimit: measure the scheduler against simulated servers, and what others do beside it; some minutes
ratelimit: .venv/dev.stamp
	@$(BIN)/python $(PIP_INSTALL) --requirement benchmarks/requirements.txt
	@$(BIN)/python benchmarks/ratelimit.py --markdown docs/rate-limits.md --plots docs

## bench: measure what the package costs, beside what a user would pick instead; a quarter of an hour, on a quiet machine
bench: .venv-bench/user.stamp
	@.venv-bench/bin/python benchmarks/performance.py --json benchmarks/results.json --markdown docs/performance.md --readme README.md

## bench-items: the same for how the cost of a job grows, to a million items; another ten minutes
bench-items: .venv-bench/user.stamp
	@.venv-bench/bin/python benchmarks/performance.py --only growth-items --json benchmarks/results.json --markdown docs/performance.md

## clean: remove all that was made, the environments too
clean:
	rm -rf .venv .venv-bench .venv-lowest build build.log demo dist .coverage .coverage.* .hypothesis .import_linter_cache
	rm -rf .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

NEED_PYTHON := test -n "$(PYTHON)" || { echo "Python 3.11 or newer with venv is needed; say where: make PYTHON=/path/to/python3" >&2; exit 1; }

# The environments. Each is made again from its stamp when pyproject.toml changes.

.venv/user.stamp: pyproject.toml
	@$(NEED_PYTHON)
	@echo "--- making .venv with the package, its command line and its local server ($$("$(PYTHON)" --version))"
	@"$(PYTHON)" -m venv .venv
	@# pip learned dependency groups in 25.1; Python 3.11 brings an older one.
	@$(BIN)/python $(PIP_INSTALL) --upgrade 'pip>=25.1'
	@$(BIN)/python $(PIP_INSTALL) --editable '.[cli,server]'
	@touch $@

.venv/dev.stamp: .venv/user.stamp
	@echo "--- adding the other extras and the developers' tools to .venv"
	@$(BIN)/python $(PIP_INSTALL) --editable '.[all]' --group dev
	@touch $@

.venv-bench/user.stamp: pyproject.toml benchmarks/requirements-clients.txt
	@$(NEED_PYTHON)
	@echo "--- making .venv-bench with the clients that are compared"
	@rm -rf .venv-bench
	@"$(PYTHON)" -m venv .venv-bench
	@.venv-bench/bin/python $(PIP_INSTALL) --upgrade 'pip>=25.1'
	@.venv-bench/bin/python $(PIP_INSTALL) --requirement benchmarks/requirements-clients.txt --editable .
	@touch $@

.venv-lowest/dev.stamp: pyproject.toml tools/lowest.py .venv/dev.stamp
	@echo "--- making .venv-lowest with the oldest dependencies allowed"
	@rm -rf .venv-lowest
	@python=$$($(BIN)/python tools/pythons.py | sed -n 1p) && "$$python" -m venv .venv-lowest
	@$(BIN)/python tools/lowest.py >.venv-lowest/pins.txt
	@.venv-lowest/bin/python $(PIP_INSTALL) --upgrade 'pip>=25.1'
	@.venv-lowest/bin/python $(PIP_INSTALL) --requirement .venv-lowest/pins.txt --editable . --group test
	@touch $@
