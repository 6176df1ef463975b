// The fused block on CUDA tensors, without torch: what csrc/torch/cuda.cpp and the tests call.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

#include "core/conv_pool.h"
#include "cuda/float16.h"

namespace mnist_fast::cuda {

// How float32 is multiplied: in full, or rounded to tf32 on tensor cores. 16-bit types know one way only.
enum class Float32 { kFull, kTf32 };

// Makes a device the current one for the calls below. torch's guard does not suffice: our copy of the CUDA runtime,
// which is linked in so that any torch's will do, may keep a current device of its own.
void set_device(int device);

// What the kernels need beside the tensors, on the device and aligned to 256 bytes. It may be reused after the call by
// whatever runs later on the same stream.
template <typename T>
size_t forward_workspace_bytes(const ConvPool& p);
template <typename T>
size_t backward_workspace_bytes(const BackwardArgs<T>& args);

// The code is a byte for each value, [n][out_h][out_w][o], also without pooling: lanes cannot write bits of one byte.
//
// Run on the current device and `stream`. Nothing waits for the device and nothing is allocated, so that a CUDA graph
// can record the calls. Throw std::runtime_error where a kernel cannot be started, with its name, and
// std::invalid_argument for a problem that no kernel covers. T: float, bfloat16, float16.
template <typename T>
void forward(const ForwardArgs<T>& args, Float32 float32, void* workspace, cudaStream_t stream);
template <typename T>
void backward(const BackwardArgs<T>& args, Float32 float32, void* workspace, cudaStream_t stream);

}  // namespace mnist_fast::cuda
