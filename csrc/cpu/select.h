#pragma once

#include "cpu/kernels.h"

namespace mnist_fast::cpu {

// The kernels of the active instruction set; null for "reference".
template <typename T>
const Kernels<T>* active_kernels();

// Null where the active instruction set has none.
const PairKernels* active_pair_kernels();

}  // namespace mnist_fast::cpu
