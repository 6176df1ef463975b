// Tensors for kernels: allocated, and as pointers to the kernels' elements.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/headeronly/core/ScalarType.h>

#include "torch/checks.h"

#ifndef STABLE_TORCH_ERROR_CODE_CHECK  // the first versions with a stable ABI
#define STABLE_TORCH_ERROR_CODE_CHECK TORCH_ERROR_CODE_CHECK
#endif

namespace mnist_fast {

using torch::headeronly::ScalarType;

// On the device of `like`; contiguous or, of four dimensions, channels_last. torch::stable::empty() would look its
// operator up by name in every call, and box its arguments.
inline Tensor allocate(const IntList& size, ScalarType dtype, const Tensor& like, bool channels_last = false) {
    const int64_t dims = static_cast<int64_t>(size.size());
    constexpr int64_t kMaxDims = 4;
    int64_t strides[kMaxDims], step = 1;
    for (int64_t i = 0; i < dims; ++i) {
        const int64_t d = !channels_last ? dims - 1 - i : i == 0 ? 1 : i == dims - 1 ? 0 : dims - i;
        strides[d] = step;
        step *= size[d] > 1 ? size[d] : 1;
    }
    int32_t device_type;
    STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(like.get(), &device_type));
    AtenTensorHandle handle;
    STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(dims, size.data(), strides, static_cast<int32_t>(dtype),
                                                           device_type, like.get_device_index(), &handle));
    return Tensor(handle);
}
inline Tensor allocate_flat(const IntList& size, ScalarType dtype, const Tensor& like) {
    return allocate(size, dtype, like);
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
