# Each target runs in the environment of $(PYTHON): `make test PYTHON=.venv/bin/python`. CONTRIBUTING.md explains them.
PYTHON ?= python
# The tools installed beside that interpreter. Not `python -m pytest`: that puts the checkout itself on the import path,
# and the tests would find the sources without their compiled library instead of the installed package.
export PATH := $(dir $(shell command -v $(PYTHON))):$(PATH)

CPP_SOURCES = $(shell find csrc tests/cpp -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' -o -name '*.h' -o -name '*.inc')

.PHONY: build test test-long lint format bench clean

build:
	$(PYTHON) -m pip install .

test:
	pytest

test-long:
	pytest -m "long or not long"

lint:
	ruff check .
	ruff format --check .
	mypy
	clang-format --dry-run -Werror $(CPP_SOURCES)

format:
	ruff check --fix .
	ruff format .
	clang-format -i $(CPP_SOURCES)

bench:
	mnist-fast bench

clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find mnist_fast tests build_backend -name __pycache__ -type d -prune -exec rm -rf {} +
