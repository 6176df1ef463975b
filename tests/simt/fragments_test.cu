// What each instruction of csrc/cuda/ptx.cuh gives to each lane, as text. Compiled by nvcc it asks the hardware, by g++
// the functions of simt/ptx.h (add -x c++): the two outputs must be equal. bench/gpu.sh compares them.
#include <cuda_runtime.h>

#include <cstdio>
#include <cstring>

#include "cuda/ptx.cuh"

namespace {

namespace ptx = mnist_fast::cuda::ptx;

constexpr int kResults = 48;

struct Args {
    const unsigned char* bytes;  // 512, for rows of matrices
    uint32_t* results;           // [kResults][32]
};

// Small integers in every format, different in every lane and word.
__device__ uint32_t halves(int lane, int word, uint32_t one, uint32_t two) {
    const int pattern = (lane * 7 + word * 5) % 9;
    return (pattern % 3 ? one : two) | (pattern / 3 ? two : one) << 16;
}

__global__ void fragments(const Args a) {
    const int lane = static_cast<int>(threadIdx.x);
    unsigned char* const shared = ptx::shared_memory();
    ptx::copy_async(shared + lane * 16, a.bytes + lane * 16);
    ptx::copies_arrived();
    __syncthreads();
    int next = 0;
    const auto keep = [&](uint32_t word) { a.results[next++ * 32 + lane] = word; };

    uint32_t four[4], two[2];
    ptx::ldmatrix_x4(four, shared + lane * 16);
    for (uint32_t word : four) keep(word);
    ptx::ldmatrix_x4_transposed(four, shared + lane * 16);
    for (uint32_t word : four) keep(word);
    ptx::ldmatrix_x2_transposed(two, shared + lane * 16);
    for (uint32_t word : two) keep(word);

    for (int format = 0; format < 3; ++format) {
        float c[4];
        for (int i = 0; i < 4; ++i) c[i] = static_cast<float>(lane * 4 + i);
        for (int i = 0; i < 4; ++i)
            four[i] = format == 0   ? halves(lane, i, 0x3f80, 0x4000)
                      : format == 1 ? halves(lane, i, 0x3c00, 0x4000)
                                    : __float_as_uint(static_cast<float>((lane * 3 + i * 5) % 11));
        for (int i = 0; i < 2; ++i)
            two[i] = format == 0   ? halves(lane, 4 + i, 0x3f80, 0xc000)
                     : format == 1 ? halves(lane, 4 + i, 0x3c00, 0xc000)
                                   : __float_as_uint(static_cast<float>((lane * 5 + i * 3) % 7 - 3));
        if (format == 0) ptx::mma_bfloat16(c, four, two);
        if (format == 1) ptx::mma_float16(c, four, two);
        if (format == 2) ptx::mma_tf32(c, four, two);
        for (float value : c) keep(__float_as_uint(value));
    }

    // Between representable numbers, ties, subnormal halves, beyond the largest half.
    const float values[4] = {1 + static_cast<float>(lane) / 4096, 1 + static_cast<float>(lane) / 512,
                             static_cast<float>(lane) * 0x1p-25f, 65488 + static_cast<float>(lane) * 4};
    for (float value : values) {
        keep(ptx::tf32_bits(value));
        keep(ptx::bfloat16_bits(value));
        keep(ptx::float16_bits(value));
        keep(__float_as_uint(ptx::from_float16_bits(ptx::float16_bits(value))));
    }
    keep(__shfl_sync(0xffffffffu, static_cast<uint32_t>(lane * lane), lane / 4 * 4 + lane % 3));
    while (next < kResults) keep(0);
}

bool failed(cudaError_t error) {
    if (error != cudaSuccess) std::fprintf(stderr, "error: %s\n", cudaGetErrorString(error));
    return error != cudaSuccess;
}

}  // namespace

int main() {
    unsigned char bytes[512];
    for (int i = 0; i < 512; ++i) bytes[i] = static_cast<unsigned char>(i * 37 % 251);
    uint32_t results[kResults][32];
    void *device_bytes = nullptr, *device_results = nullptr;
    if (failed(cudaMalloc(&device_bytes, sizeof bytes)) || failed(cudaMalloc(&device_results, sizeof results)) ||
        failed(cudaMemcpy(device_bytes, bytes, sizeof bytes, cudaMemcpyHostToDevice)))
        return 1;
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(1);
    config.blockDim = dim3(32);
    config.dynamicSmemBytes = sizeof bytes;
    const Args args{static_cast<unsigned char*>(device_bytes), static_cast<uint32_t*>(device_results)};
    if (failed(cudaLaunchKernelEx(&config, fragments, args)) ||
        failed(cudaMemcpy(results, device_results, sizeof results, cudaMemcpyDeviceToHost)))
        return 1;
    for (const auto& row : results) {
        for (uint32_t word : row) std::printf("%08x ", word);
        std::printf("\n");
    }
    return failed(cudaFree(device_bytes)) || failed(cudaFree(device_results));
}
