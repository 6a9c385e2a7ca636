# Verbs for people. Everything lives in .venv; the first verb sets it up (a minute), later ones start at once.
# Needs Python 3.11 or newer, git and make. Uses uv when it is on PATH, else venv and pip; hashes are required by both.
.PHONY: demo test thorough journeys check fuzz bench figures fmt docs clean
.DEFAULT_GOAL := demo

BIN := .venv/bin
BASE := .venv/.base
DEV := .venv/.dev
FUZZ := .venv/.fuzz
RUNS ?= 100000
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-input
# Each test belongs to one verb, by its mark (tests/test_verbs.py).
PYTEST := $(BIN)/python -m pytest

# The first python on PATH that is new enough.
FIND_PYTHON = for p in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$p; break; }; done

demo: $(BASE)  ## a contact centre on loopback: 50 calls, one is played back, one is destroyed
	@$(BIN)/mitschnitt demo $(if $(SCENE),--scene $(SCENE))

# To import the tests takes longer than half of them run, so what was compiled is kept whatever the shell says.
test thorough journeys: export PYTHONDONTWRITEBYTECODE =

test: $(DEV)  ## all quick tests, and the rules of the house: under a minute
	@$(PYTEST) -n auto --dist worksteal -m "not journey and not thorough"

thorough: $(DEV)  ## very many cases, and processes that are started: minutes
	@$(PYTEST) -n auto --dist worksteal -m "thorough and not journey"

journeys: $(DEV)  ## whole processes, killed and watched: minutes
	@$(PYTEST) -n 2 --dist loadfile -m "journey"

check: $(DEV)  ## lint, format, types, and whether what is drawn is fresh
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy --strict src tests
	@$(BIN)/python docs/draw.py --check
	@$(BIN)/python docs/checklist.py --check

fuzz: $(FUZZ)  ## parsers and the user agent under a coverage-guided fuzzer; RUNS in all, ARGS for libFuzzer
	@$(BIN)/python tests/fuzz/run.py all $(RUNS) $(ARGS)

bench: $(BASE)  ## our receiver against a bare C loop; ARGS are passed on
	@$(BIN)/mitschnitt bench capture $(ARGS)

figures: $(BASE)  ## the cost curve of docs/performance.md anew: minutes on a machine that does nothing else
	@$(BIN)/mitschnitt bench curve --json docs/figures/capture.json
	@$(BIN)/python docs/draw.py

fmt: $(DEV)
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

docs: $(BASE)  ## the pictures that are drawn from tables
	@$(BIN)/python docs/draw.py
	@$(BIN)/python docs/checklist.py

clean:
	rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache .hypothesis src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A set-up that breaks off leaves no stamp, so the next verb begins it anew.
$(BASE): requirements/base.txt requirements/build.txt pyproject.toml
	@set -e; python=$$($(FIND_PYTHON)); \
	if [ -z "$$python" ]; then echo "mitschnitt needs Python 3.11 or newer on PATH; none was found" >&2; exit 1; fi; \
	if command -v uv >/dev/null 2>&1; then \
		echo "setting up .venv with uv and $$python"; rm -rf .venv; \
		uv venv --quiet --python $$python .venv; \
		uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/build.txt -r requirements/base.txt; \
		uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .; \
	else \
		$$python -c 'import ensurepip, venv' 2>/dev/null || { \
			echo "$$python comes without venv; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }; \
		echo "setting up .venv with pip and $$python"; rm -rf .venv; \
		$$python -m venv .venv; \
		$(PIP) --require-hashes -r requirements/build.txt -r requirements/base.txt; \
		$(PIP) --no-deps --no-build-isolation -e .; \
	fi
	@touch $@

$(DEV): requirements/dev.txt $(BASE)
	@echo "adding what tests and checks need"
	@if command -v uv >/dev/null 2>&1; then \
		uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt; \
	else \
		$(PIP) --require-hashes -r requirements/dev.txt; \
	fi
	@touch $@

$(FUZZ): requirements/fuzz.txt $(DEV)
	@echo "adding the fuzzer"
	@if command -v uv >/dev/null 2>&1; then \
		uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/fuzz.txt; \
	else \
		$(PIP) --require-hashes -r requirements/fuzz.txt; \
	fi
	@touch $@
