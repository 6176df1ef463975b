// From tensors to a validated problem, for every device alike.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "core/conv_pool.h"

namespace mnist_fast {

using torch::stable::Tensor;
using IntList = std::vector<int64_t>;

// Checks ranks, sizes and dtypes; raises a Python RuntimeError that names what is wrong.
ConvPool problem_of(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, const IntList& stride,
                    const IntList& padding, bool relu, const IntList& pool_size, const IntList& pool_stride);

// Of backward's other operands: shape, dtype and device of the gradient, and how many gradients are asked for.
void check_gradient(const ConvPool& p, const Tensor& grad_output, const Tensor& input,
                    const std::vector<bool>& output_mask);

Strides strides_of(const Tensor& tensor);

// The memory format torch would suggest for a 4-D tensor: do its strides order the dimensions n, h, w, c?
bool is_channels_last(const Tensor& tensor);
// Whether it is 4-D and lies that way without gaps.
bool is_dense_channels_last(const Tensor& tensor);

}  // namespace mnist_fast
