// In the place of CUDA's own header: what csrc/cuda uses of the runtime, on the CPU. Launches run at once.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <map>

using cudaStream_t = struct CUstream_st*;

enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidConfiguration = 9 };
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost };
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount, cudaDevAttrMaxSharedMemoryPerMultiprocessor };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };

namespace simt {

// The device that kernels are planned for; few multiprocessors let blocks take several items.
inline int multiprocessors = 2;
constexpr int kSharedBytesOfMultiprocessor = 228 * 1024;
constexpr int kSharedBytesOfBlock = 99 * 1024;  // the least that a card with our kernels has
constexpr int kSharedBytesWithoutAsking = 48 * 1024;
inline std::map<const void*, int> shared_bytes_asked_for;  // by kernel
inline cudaStream_t stream = nullptr;                      // the one that all launches have to be on
inline int launches_until_one_fails = -1;                  // never

}  // namespace simt

inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline const char* cudaGetErrorString(cudaError_t error) {
    return error == cudaSuccess ? "no error" : "invalid configuration argument";
}
inline cudaError_t cudaGetDevice(int* device) {
    *device = 0;
    return cudaSuccess;
}
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
    *value = attribute == cudaDevAttrMultiProcessorCount ? simt::multiprocessors : simt::kSharedBytesOfMultiprocessor;
    return cudaSuccess;
}

inline cudaError_t cudaMalloc(void** memory, size_t bytes) {
    *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    return cudaSuccess;
}
inline cudaError_t cudaFree(void* memory) {
    std::free(memory);
    return cudaSuccess;
}
inline cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
    std::memcpy(to, from, bytes);
    return cudaSuccess;
}
