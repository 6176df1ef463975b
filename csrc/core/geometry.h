// Turns user-level numbers into a ConvPool, once; kernels trust the result.
#pragma once

#include "core/conv_pool.h"

namespace mnist_fast {

// The limits of the kernels; beyond them the stock operators take over.
constexpr int64_t kMaxKernel = 7;
constexpr int64_t kMaxStride = 2;

// Throws std::invalid_argument with the offending value where no kernel covers the problem, std::length_error where a
// buffer's size would overflow.
ConvPool make_conv_pool(const ConvPoolSizes& sizes);

}  // namespace mnist_fast
