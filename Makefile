# `make demo`, `make test` and `make ui` set up what is missing; they need Python 3.11 to 3.13 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A process runs whole groups of tests, which share what they build (tests/conftest.py); the long ones come first.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadscope --no-loadscope-reorder

.PHONY: demo test test-docs test-servers test-fast test-full fuzz mutations bench bench-peers bench-guard bench-recipes ui lint types docs reference dist install clean

demo: $(VENV)/installed ## set up, run MovieLens-100K through the whole graph, print what came out
	$(BIN)/twotower demo

test: $(VENV)/installed ## run the tests, on all cores: five to six minutes on two
	$(PYTEST) -m 'not servers and not pages' $(PYTEST_ARGS)

test-docs: $(VENV)/installed ## every block of the documentation, run on the finished demo: four minutes on two cores
	$(PYTEST) -m pages $(PYTEST_ARGS)

test-servers: $(VENV)/installed ## the tests that start the Dagster UI, Chromium or many processes, or install the wheel
	$(PYTEST) -m servers $(PYTEST_ARGS)

test-fast: $(VENV)/installed ## at every save: what trains nothing through the whole graph and starts no browser
	$(PYTEST) -m 'not slow and not servers and not pages' $(PYTEST_ARGS)

test-full: $(VENV)/installed ## all tests, each of them with every combination of what it varies
	$(PYTEST) --full-product $(PYTEST_ARGS)

fuzz: $(VENV)/installed ## a thousand made-up data sets through the data contract
	$(BIN)/python -m pytest --hypothesis-profile=fuzz tests/sql/test_any_data.py $(PYTEST_ARGS)

mutations: $(VENV)/installed ## mistakes in the loss, one after the other, each of which a test has to notice; half an hour
	$(BIN)/python tools/mutate_loss.py

bench: $(VENV)/installed ## every benchmark in its short form, five to ten minutes
	$(BIN)/python benchmarks/training_throughput.py --short
	$(BIN)/python benchmarks/engines.py --short
	$(BIN)/python benchmarks/neighbours.py --short
	$(BIN)/python benchmarks/time_to_quality.py --short
	$(BIN)/python benchmarks/feature_sql.py --short
	$(BIN)/python benchmarks/index.py --short
	$(BIN)/python benchmarks/demo.py --short
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/recipes.py --short

bench-peers: $(VENV)/installed ## install what benchmarks compare with: TensorFlow Recommenders, implicit, hnswlib (2 GB)
	$(PYTHON) tools/install.py $(VENV) bench

bench-guard: $(VENV)/installed ## fail where a gain in speed is lost; ratios only
	$(BIN)/python benchmarks/guard.py

bench-recipes: $(VENV)/installed ## every recipe on MovieLens-100K and KuaiRand, three trainings each; can be interrupted
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/recipes.py

ui: $(VENV)/installed ## the Dagster UI on http://127.0.0.1:3000
	$(BIN)/twotower ui

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/sqlfluff lint --disable-progress-bar sql

types: $(VENV)/installed
	$(BIN)/mypy

docs: $(VENV)/installed ## the documentation as a site in build/site; fails on a broken link
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

reference: $(VENV)/installed ## write the pages that follow from declarations
	$(BIN)/python -m twotower_assets.lake.documentation > docs/tables.md
	$(BIN)/python -m twotower_assets.recipes.documentation > docs/recipes.md

dist: $(VENV)/installed ## sdist and wheel in dist/
	$(BIN)/python -m build --no-isolation

install: $(VENV)/installed ## only set up

$(VENV)/installed: pyproject.toml constraints.txt tools/install.py
	$(PYTHON) tools/install.py $(VENV) dev
	touch $@

clean: ## remove the environment; state in TWOTOWER_HOME stays
	rm -rf $(VENV)
