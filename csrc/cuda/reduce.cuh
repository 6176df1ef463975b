// The second stage of the weight gradient: adds the partial sums in a fixed order and writes weight and bias gradient.
#pragma once

#include "core/conv_pool.h"
#include "cuda/elements.cuh"
#include "cuda/launch.h"

namespace mnist_fast::cuda {

constexpr int kReduceWarps = 8;

struct PartialSums {
    const float* partial;  // [shares][rows][columns]
    int64_t shares, rows, columns;
    int tap_rows;  // rows from one tap to the next
    int bias_row;
};

template <typename T>
struct ReduceArgs : PartialSums {
    int channels, kh, kw, outputs;
    T* grad_weight;  // or null
    Strides grad_weight_strides;
    T* grad_bias;  // or null
};

// A block takes 32 elements: warp w adds every kReduceWarps-th share from the w-th on, the first warp adds up the
// warps.
template <typename T>
__global__ void __launch_bounds__(32 * kReduceWarps) reduce(const ReduceArgs<T> a) {
    float* const sums = reinterpret_cast<float*>(ptx::shared_memory());
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    const int64_t element = static_cast<int64_t>(blockIdx.x) * 32 + lane;
    const int64_t weights = static_cast<int64_t>(a.outputs) * a.channels * a.kh * a.kw;
    const bool exists = element < weights + a.outputs;

    // Output channels are innermost, as in the partial sums: lanes read neighbours.
    const int output = static_cast<int>(element % a.outputs);
    const int inner = static_cast<int>(element / a.outputs), channel = inner % a.channels, tap = inner / a.channels;
    const int64_t row = element < weights ? static_cast<int64_t>(tap) * a.tap_rows + channel : a.bias_row;
    float sum = 0;
    if (exists)
        for (int64_t share = warp; share < a.shares; share += kReduceWarps)
            sum += a.partial[(share * a.rows + row) * a.columns + output];
    sums[threadIdx.x] = sum;
    __syncthreads();
    if (warp != 0 || !exists) return;
    sum = 0;
    for (int w = 0; w < kReduceWarps; ++w) sum += sums[w * 32 + lane];
    if (element >= weights) {
        if (a.grad_bias) a.grad_bias[output] = from_float<T>(sum);
    } else if (a.grad_weight) {
        a.grad_weight[output * a.grad_weight_strides.n + channel * a.grad_weight_strides.c +
                      tap / a.kw * a.grad_weight_strides.h + tap % a.kw * a.grad_weight_strides.w] = from_float<T>(sum);
    }
}

// Host side: launches the above for the gradients that are asked for.
template <typename T>
void add_up(const PartialSums& sums, const BackwardArgs<T>& args, const Device& device) {
    const ConvPool& p = args.p;
    ReduceArgs<T> a{};
    static_cast<PartialSums&>(a) = sums;
    a.channels = static_cast<int>(p.c);
    a.kh = static_cast<int>(p.kh);
    a.kw = static_cast<int>(p.kw);
    a.outputs = static_cast<int>(p.o);
    a.grad_weight = args.grad_weight;
    a.grad_weight_strides = args.grad_weight_strides;
    a.grad_bias = args.grad_bias;
    const int64_t elements = p.o * (p.c * p.kh * p.kw + 1);
    launch("conv_relu_maxpool2d sum of weight gradients", reduce<T>, dim3(static_cast<unsigned>((elements + 31) / 32)),
           32 * kReduceWarps, 32 * kReduceWarps * static_cast<int>(sizeof(float)), device.stream, a);
}

}  // namespace mnist_fast::cuda
