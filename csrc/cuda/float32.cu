// The fused block on float32 tensors, in full precision.
#include "cuda/block.cuh"
#include "cuda/direct.cuh"
#include "cuda/kernels.h"

namespace mnist_fast::cuda {

void forward_float32(const ForwardArgs<float>& args, void* workspace, cudaStream_t stream) {
    Block<Float32Arithmetic>::forward(args, workspace, stream);
}

void backward_float32(const BackwardArgs<float>& args, void* workspace, cudaStream_t stream) {
    Block<Float32Arithmetic>::backward(args, workspace, stream);
}

void forward_direct(const ForwardArgs<float>& args, cudaStream_t stream) { Direct<float>::forward(args, stream); }

void backward_direct(const BackwardArgs<float>& args, void* workspace, cudaStream_t stream) {
    Direct<float>::backward(args, static_cast<float*>(workspace), stream);
}

}  // namespace mnist_fast::cuda
