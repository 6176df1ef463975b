// The fused block on bfloat16 tensors.
#include "cuda/block.cuh"
#include "cuda/direct.cuh"
#include "cuda/kernels.h"

namespace mnist_fast::cuda {

void forward_bfloat16(const ForwardArgs<bfloat16>& args, void* workspace, cudaStream_t stream) {
    Block<HalfArithmetic<bfloat16>>::forward(args, workspace, stream);
}

void backward_bfloat16(const BackwardArgs<bfloat16>& args, void* workspace, cudaStream_t stream) {
    Block<HalfArithmetic<bfloat16>>::backward(args, workspace, stream);
}

void forward_direct(const ForwardArgs<bfloat16>& args, cudaStream_t stream) { Direct<bfloat16>::forward(args, stream); }

void backward_direct(const BackwardArgs<bfloat16>& args, void* workspace, cudaStream_t stream) {
    Direct<bfloat16>::backward(args, static_cast<float*>(workspace), stream);
}

}  // namespace mnist_fast::cuda
