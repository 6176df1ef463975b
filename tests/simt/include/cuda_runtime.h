// In the place of CUDA's own header, for code that runs on the device as well: the language of kernels in plain C++.
#pragma once

#include <cuda_runtime_api.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <utility>

#include "simt/block.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

using dim3 = simt::Index;

struct alignas(8) uint2 {
    uint32_t x, y;
};
struct alignas(16) uint4 {
    uint32_t x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
inline uint2 make_uint2(uint32_t x, uint32_t y) { return {x, y}; }
inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }

inline float __uint_as_float(uint32_t bits) { return std::bit_cast<float>(bits); }
inline uint32_t __float_as_uint(float value) { return std::bit_cast<uint32_t>(value); }
inline float fmaf(float a, float b, float c) { return std::fma(a, b, c); }

inline void __syncthreads() { simt::block->barrier(); }

inline void __syncwarp() {
    constexpr int kSyncWarp = 2;
    simt::block->together(kSyncWarp, nullptr, [](simt::Lane(&)[simt::kLanes]) {});
}

inline uint32_t __shfl_sync(uint32_t mask, uint32_t value, int from) {
    if (mask != 0xffffffffu) simt::fail("shuffles take all lanes");
    constexpr int kShuffle = 1;
    struct Shuffle {
        uint32_t value;
        int from;
        uint32_t result;
    } operands{value, from, 0};
    simt::block->together(kShuffle, &operands, [](simt::Lane(&lanes)[simt::kLanes]) {
        const auto at = [&](int lane) -> Shuffle& { return *static_cast<Shuffle*>(lanes[lane].operands); };
        for (int lane = 0; lane < simt::kLanes; ++lane) at(lane).result = at(at(lane).from % simt::kLanes).value;
    });
    return operands.result;
}

struct cudaLaunchConfig_t {
    dim3 gridDim, blockDim;
    size_t dynamicSmemBytes;
    cudaStream_t stream;
};

template <typename Kernel>
cudaError_t cudaFuncSetAttribute(Kernel* kernel, cudaFuncAttribute, int bytes) {
    simt::shared_bytes_asked_for[reinterpret_cast<const void*>(kernel)] = bytes;
    return bytes <= simt::kSharedBytesOfBlock ? cudaSuccess : cudaErrorInvalidConfiguration;
}

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
    static_assert((sizeof(Parameters) + ...) <= 4096, "parameters of a kernel take 4 KiB at most");
    const auto shared_bytes = static_cast<int>(config->dynamicSmemBytes);
    const int asked_for = simt::shared_bytes_asked_for[reinterpret_cast<const void*>(kernel)];
    const bool asked = shared_bytes <= simt::kSharedBytesWithoutAsking || shared_bytes <= asked_for;
    const dim3 size = config->blockDim, grid = config->gridDim;
    if (simt::launches_until_one_fails-- == 0 || !asked || size.x * size.y * size.z > 1024 || grid.x == 0 ||
        grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535)
        return cudaErrorInvalidConfiguration;
    if (config->stream != simt::stream) simt::fail("a kernel is launched on another stream");
    gridDim = grid;
    simt::Block block(size, config->dynamicSmemBytes);
    simt::block = &block;
    for (unsigned z = 0; z < grid.z; ++z)
        for (unsigned y = 0; y < grid.y; ++y)
            for (unsigned x = 0; x < grid.x; ++x) block.run({x, y, z}, [&] { kernel(arguments...); });
    simt::block = nullptr;
    return cudaSuccess;
}
