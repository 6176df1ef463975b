// The fused block on float32 tensors, with factors rounded to tf32.
#include "cuda/block.cuh"
#include "cuda/kernels.h"

namespace mnist_fast::cuda {

void forward_tf32(const ForwardArgs<float>& args, void* workspace, cudaStream_t stream) {
    Block<Tf32Arithmetic>::forward(args, workspace, stream);
}

void backward_tf32(const BackwardArgs<float>& args, void* workspace, cudaStream_t stream) {
    Block<Tf32Arithmetic>::backward(args, workspace, stream);
}

}  // namespace mnist_fast::cuda
