# make icr: the study of the ICR data, from nothing to its table.  make test: the linters and every test.
# make quick: the tests that are not slow, in a minute or two.  make docs: the documentation as pages, in site/.
PYTHON ?= python3
BIN := .venv/bin
LOWER := tests/lupi/balancing tests/lupi/data tests/lupi/engine/test_losses.py tests/lupi/engine/test_training.py \
	tests/lupi/estimators/test_estimators.py tests/lupi/estimators/test_saving.py tests/lupi/estimators/test_file_format.py \
	tests/lupi/estimators/test_search.py tests/lupi/evidence/test_differences.py tests/lupi/evidence/test_gain.py \
	tests/lupi/evidence/test_metrics.py tests/lupi/evidence/test_ranks.py tests/lupi/evidence/test_verdict.py \
	tests/lupi/methods/test_classical.py tests/lupi/methods/test_svm_plus.py

.PHONY: icr test quick lint benchmark lower-bounds docs clean

icr: .venv/installed
	$(BIN)/python download_datasets.py icr
	$(BIN)/python MT_main.py --dataset icr

test: .venv/installed-test lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

quick: .venv/installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

lint: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

benchmark: .venv/installed-test
	$(BIN)/python benchmarks/engine.py
	$(BIN)/python benchmarks/twins.py
	$(BIN)/python benchmarks/causes.py
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "cvxpy>=1.5" "ecos>=2.0"
	$(BIN)/python benchmarks/balancing.py
	$(BIN)/python benchmarks/estimators.py

# The library alone, with the least versions of what it needs.
lower-bounds:
	test -x .venv-lower/bin/python || $(PYTHON) -m venv .venv-lower
	.venv-lower/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-lower.txt
	OMP_NUM_THREADS=1 .venv-lower/bin/python -m pytest -q -n auto $(LOWER)

docs: .venv/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

.venv/installed: requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

.venv/installed-test: .venv/installed requirements-test.txt requirements-docs.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-test.txt
	touch $@

.venv/installed-docs: requirements-docs.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-docs.txt
	touch $@

clean:
	rm -rf site .venv .venv-lower .mypy_cache .pytest_cache .ruff_cache
