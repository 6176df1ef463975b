#!/usr/bin/env bash
# Everything that wants a GPU, meant for under nine minutes: builds, compares the hardware's fragments with those that the tests
# on the CPU assume, runs the tests of the operator on CUDA tensors, sanitizes, measures, trains. Stops at the first thing
# that is wrong; the table of times comes last.
#
#   bench/gpu.sh [DIRECTORY]    writes gpu.json, train.json and the sanitizer's reports there (default: bench/results/new-gpu)
#
# PYTHON chooses the interpreter, whose torch must be a CUDA build. MNIST_FAST_DATA names MNIST's directory, as for the tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python}
results=$(realpath -m "${1:-bench/results/new-gpu}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$results"

step() { printf '\n== %s (after %d s)\n' "$1" "$SECONDS"; }

step "build"
nvcc=$(command -v nvcc || echo "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc")
if [[ ! -x $nvcc ]]; then
    echo "error: no nvcc on the PATH or in CUDA_HOME=${CUDA_HOME:-/usr/local/cuda}; install the CUDA toolkit" >&2
    exit 1
fi
MNIST_FAST_CUDA=1 "$python" -m pip install --quiet ".[test]"
(cd "$work" && "$python" -m mnist_fast doctor)
if ! (cd "$work" && "$python" -c 'import sys, mnist_fast; sys.exit(not mnist_fast.backend_info()["cuda"]["available"])'); then
    echo "error: the CUDA kernels do not run here; the line 'cuda kernels' above says why" >&2
    exit 1
fi

step "fragments of ldmatrix, mma and the conversions"
"$nvcc" -std=c++17 -I csrc -arch=native -o "$work/fragments_gpu" tests/simt/fragments_test.cu
"${CXX:-c++}" -std=c++20 -w -I csrc -I tests -I tests/simt/include -x c++ -o "$work/fragments_cpu" tests/simt/fragments_test.cu
"$work/fragments_cpu" >"$work/cpu"
"$work/fragments_gpu" >"$work/gpu"
diff "$work/cpu" "$work/gpu" && echo "as on the CPU"

step "the operator against float64"
pytest=$(dirname "$(command -v "$python")")/pytest
timeout 120 "$pytest" tests/test_ops_cuda.py tests/test_cuda_compile.py

step "compute-sanitizer"
if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck; do
        timeout 40 compute-sanitizer --tool "$tool" --error-exitcode 9 --log-file "$results/$tool.txt" \
            "$python" bench/gpu_small_calls.py
        tail -n 1 "$results/$tool.txt"
    done
else
    echo "not installed: left out"
fi

step "training steps"
(cd "$work" && timeout 240 "$python" "$OLDPWD/bench/gpu_steps.py" --json "$results/gpu.json" >"$work/table")

step "an epoch of training"
(cd "$work" && timeout 60 "$python" -m mnist_fast train --device cuda --arch cnn --batch-size 256 --epochs 2 --seed 0 --precision bf16 \
    --output "$work/run" --quiet --json | tail -n 1 | tee "$results/train.json")

step "microseconds"
cat "$work/table"
