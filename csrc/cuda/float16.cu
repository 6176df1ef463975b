// The fused block on float16 tensors.
#include "cuda/block.cuh"
#include "cuda/direct.cuh"
#include "cuda/kernels.h"

namespace mnist_fast::cuda {

void forward_float16(const ForwardArgs<float16>& args, void* workspace, cudaStream_t stream) {
    Block<HalfArithmetic<float16>>::forward(args, workspace, stream);
}

void backward_float16(const BackwardArgs<float16>& args, void* workspace, cudaStream_t stream) {
    Block<HalfArithmetic<float16>>::backward(args, workspace, stream);
}

void forward_direct(const ForwardArgs<float16>& args, cudaStream_t stream) { Direct<float16>::forward(args, stream); }

void backward_direct(const BackwardArgs<float16>& args, void* workspace, cudaStream_t stream) {
    Direct<float16>::backward(args, static_cast<float*>(workspace), stream);
}

}  // namespace mnist_fast::cuda
