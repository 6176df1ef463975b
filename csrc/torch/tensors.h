// Tensors for kernels: allocated, and as pointers to the kernels' elements.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/headeronly/core/ScalarType.h>

#include "torch/checks.h"

namespace mnist_fast {

using torch::headeronly::ScalarType;

// On the device of `like`.
inline Tensor allocate(const IntList& size, ScalarType dtype, const Tensor& like, bool channels_last) {
    using torch::headeronly::MemoryFormat;
    return torch::stable::empty(size, dtype, std::nullopt, like.device(), std::nullopt,
                                channels_last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous);
}

inline Tensor allocate_flat(const IntList& size, ScalarType dtype, const Tensor& like) {
    return torch::stable::empty(size, dtype, std::nullopt, like.device());
}

// torch's 16-bit floating-point numbers and ours are the same bits.
template <typename T>
const T* data_of(const Tensor& tensor) {
    return static_cast<const T*>(tensor.const_data_ptr());
}
template <typename T>
T* mutable_data_of(const Tensor& tensor) {
    return static_cast<T*>(tensor.mutable_data_ptr());
}

}  // namespace mnist_fast
