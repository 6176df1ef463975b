# Each target runs in the environment of $(PYTHON): `make test PYTHON=.venv/bin/python`. CONTRIBUTING.md explains them.
PYTHON ?= python
# The tools installed beside that interpreter. Not `python -m pytest`: that puts the checkout itself on the import path,
# and the tests would find the sources without their compiled library instead of the installed package.
export PATH := $(dir $(shell command -v $(PYTHON))):$(PATH)

CPP_SOURCES = $(shell find csrc tests/cpp tests/simt bench/native -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' -o -name '*.h' -o -name '*.inc')

.PHONY: build test test-long lint format bench bench-native clean

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

# Needs a C++ compiler and CMake only, neither Python nor torch: `make bench-native ARGS="--blocks cnn.conv2"`.
bench-native:
	cmake -S . -B build/native -DMNIST_FAST_NATIVE_BENCH=ON
	cmake --build build/native --target native_bench --parallel
	build/native/native_bench $(ARGS)

clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find mnist_fast tests build_backend -name __pycache__ -type d -prune -exec rm -rf {} +
