#!/usr/bin/env bash
# Everything that wants a GPU, in under nine minutes: builds, compares the hardware's fragments with those that the tests on the CPU
# assume, runs the operator's tests on CUDA tensors, measures, trains, sanitizes. What fails or takes too long keeps nothing else from
# running; the tables come last: how each stage went, and the times.
#
#   bench/gpu.sh [DIRECTORY]                 writes gpu.json and the sanitizer's reports there (default: bench/results/new-gpu)
#   bench/gpu.sh --device cpu [DIRECTORY]    a rehearsal: what needs no GPU, on small sizes, with the package as it is installed
#
# PYTHON chooses the interpreter, whose torch must be a CUDA build. MNIST is looked for as torchvision lays it out, plain or gzipped,
# in MNIST_FAST_DATA or the checkout's data/.
exec "${PYTHON:-python}" "$(dirname "${BASH_SOURCE[0]}")/gpu_stages.py" "$@"
