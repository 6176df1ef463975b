// Starts a kernel on a stream, and says so at once when that fails.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

namespace mnist_fast::cuda {

inline void check(cudaError_t error, const char* what) {
    if (error == cudaSuccess) return;
    (void)cudaGetLastError();  // else the next check, anywhere in the process, reports it again
    throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}

// What every launch needs to know of the current device.
struct Device {
    int multiprocessors, shared_bytes;  // shared memory of one multiprocessor
    cudaStream_t stream;
};

inline Device current_device(cudaStream_t stream) {
    int device = 0;
    Device found{0, 0, stream};
    check(cudaGetDevice(&device), "current CUDA device");
    check(cudaDeviceGetAttribute(&found.multiprocessors, cudaDevAttrMultiProcessorCount, device), "CUDA device");
    check(cudaDeviceGetAttribute(&found.shared_bytes, cudaDevAttrMaxSharedMemoryPerMultiprocessor, device),
          "CUDA device");
    return found;
}

// No synchronisation and no allocation: a CUDA graph may record it.
template <typename Args>
void launch(const char* name, void (*kernel)(Args), dim3 grid, int threads, int shared_bytes, cudaStream_t stream,
            const Args& args) {
    constexpr int kWithoutAsking = 48 * 1024;
    if (shared_bytes > kWithoutAsking)
        check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes), name);
    cudaLaunchConfig_t config{};
    config.gridDim = grid;
    config.blockDim = dim3(static_cast<unsigned>(threads));
    config.dynamicSmemBytes = static_cast<size_t>(shared_bytes);
    config.stream = stream;
    check(cudaLaunchKernelEx(&config, kernel, args), name);
}

}  // namespace mnist_fast::cuda
