// The CUDA library: built wherever nvcc is found, loaded only under a CUDA build of torch. It holds no kernels yet; it
// tells which architectures this build has code for, and what the driver offers, so that `mnist-fast doctor` can say
// why CUDA tensors take the stock operators.
#include <cuda_runtime_api.h>

extern "C" {

// Comma-separated, as given to nvcc.
const char* mnist_fast_cuda_architectures() { return MNIST_FAST_CUDA_ARCHITECTURES; }

int mnist_fast_cuda_runtime_version() { return CUDART_VERSION; }

// Devices the driver shows, or minus the cudaError_t.
int mnist_fast_cuda_device_count() {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    return error == cudaSuccess ? count : -static_cast<int>(error);
}

}  // extern "C"
