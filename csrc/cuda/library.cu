// What Python asks the CUDA library directly: which architectures it has code for, whether that runs here, and which
// problems its kernels cover.
#include <cuda_runtime_api.h>

#include <exception>

#include "core/geometry.h"
#include "cuda/plan.h"

#define MNIST_FAST_EXPORT extern "C" __attribute__((visibility("default")))

namespace {
__global__ void any_kernel() {}  // compiled for the same architectures as all others
}  // namespace

// Comma-separated, as given to nvcc.
MNIST_FAST_EXPORT const char* mnist_fast_cuda_architectures() { return MNIST_FAST_CUDA_ARCHITECTURES; }

MNIST_FAST_EXPORT int mnist_fast_cuda_runtime_version() { return CUDART_VERSION; }

// Why kernels cannot be loaded on a device (a driver older than the toolkit, no code for the card), or null where they
// can. The device stays the current one.
MNIST_FAST_EXPORT const char* mnist_fast_cuda_why_not_runnable(int device) {
    cudaFuncAttributes attributes;
    cudaError_t error = cudaSetDevice(device);
    if (error == cudaSuccess) error = cudaFuncGetAttributes(&attributes, any_kernel);
    (void)cudaGetLastError();
    return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

// c, h, w, o, kh, kw, then stride, padding, pool size and pool stride, each (height, width). What no kernel covers of
// such a problem, or null where one does.
MNIST_FAST_EXPORT const char* mnist_fast_cuda_why_not_covered(const int64_t (*sizes)[14], int element_bytes) {
    const int64_t (&s)[14] = *sizes;
    try {
        const mnist_fast::ConvPool p = mnist_fast::make_conv_pool(
            {1, s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[9], s[10], s[11], s[12], s[13], true});
        return mnist_fast::cuda::why_not_covered(p, element_bytes);
    } catch (const std::exception&) {
        return "sizes beyond those of the CPU kernels";
    }
}

// Whether small layers go to the direct kernels (they do at the start), or every layer to the tensor cores. Not for use
// while kernels run.
MNIST_FAST_EXPORT void mnist_fast_cuda_set_direct(int on) { mnist_fast::cuda::set_direct(on != 0); }
