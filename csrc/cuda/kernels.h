// The block in each arithmetic (block.cuh), and for small layers in each type (direct.cuh), as the files *.cu compile
// it.
#pragma once

#include <cuda_runtime_api.h>

#include "core/bfloat16.h"
#include "core/conv_pool.h"
#include "cuda/float16.h"

namespace mnist_fast::cuda {

void forward_bfloat16(const ForwardArgs<bfloat16>& args, void* workspace, cudaStream_t stream);
void forward_float16(const ForwardArgs<float16>& args, void* workspace, cudaStream_t stream);
void forward_float32(const ForwardArgs<float>& args, void* workspace, cudaStream_t stream);
void forward_tf32(const ForwardArgs<float>& args, void* workspace, cudaStream_t stream);

void backward_bfloat16(const BackwardArgs<bfloat16>& args, void* workspace, cudaStream_t stream);
void backward_float16(const BackwardArgs<float16>& args, void* workspace, cudaStream_t stream);
void backward_float32(const BackwardArgs<float>& args, void* workspace, cudaStream_t stream);
void backward_tf32(const BackwardArgs<float>& args, void* workspace, cudaStream_t stream);

void forward_direct(const ForwardArgs<bfloat16>& args, cudaStream_t stream);
void forward_direct(const ForwardArgs<float16>& args, cudaStream_t stream);
void forward_direct(const ForwardArgs<float>& args, cudaStream_t stream);

void backward_direct(const BackwardArgs<bfloat16>& args, void* workspace, cudaStream_t stream);
void backward_direct(const BackwardArgs<float16>& args, void* workspace, cudaStream_t stream);
void backward_direct(const BackwardArgs<float>& args, void* workspace, cudaStream_t stream);

}  // namespace mnist_fast::cuda
