// The forward kernel of small layers, by fused multiply-adds of floats; and with another source and flipped weights
// their input gradient.
//
// A thread sums kRun neighbouring channels for a strip of windows, one below the other: what it loads of the pixels in
// a row and of the weights of a filter row serves the whole strip. The threads of a warp take the channels of
// neighbouring columns (or, where channels are not innermost, neighbouring columns), so that they store side by side.
#pragma once

#include "cuda/direct_fill.cuh"
#include "cuda/items.h"
#include "cuda/layout.h"
#include "cuda/pooling.cuh"

namespace mnist_fast::cuda {

template <typename T>
struct DirectConvolutionArgs {
    Source<T> source;
    DirectPlanes planes;
    Items items;        // its rows are strips
    int out_h, out_w;   // windows
    int groups;         // of kDirectRun channels
    bool groups_first;  // neighbouring threads take neighbouring groups, else neighbouring columns
    Divisor by_groups, by_places, by_out_w, by_strips;  // by_places: strips of an item
    const T* weight;
    Strides weight_strides;
    bool flip;      // taps run backwards
    const T* bias;  // or null
    int channels;
    bool relu;
    T* output;
    Strides output_strides;
    uint8_t* code;                 // or null
    bool whole_runs, whole_codes;  // a run's channels exist all or none, lie side by side, and are aligned
};

template <typename T, Fill kFill, int kKernel, int kPool>
struct DirectConvolution {
    static constexpr int kRun = kDirectRun, kTaps = kKernel * kKernel;
    static constexpr int kStrip = direct_strip(kPool), kRows = kStrip * kPool;  // rows of positions in a strip
    static constexpr int kFieldRows = kRows + kKernel - 1, kFieldColumns = kPool + kKernel - 1;

    // [channel][tap][output channel], and behind them the bias.
    __device__ static void load_weights(const DirectConvolutionArgs<T>& a, float* weights) {
        const int columns = a.groups * kRun, bias = a.planes.channels * kTaps * columns;
        bring(bias + columns, weights, [&](int i, int& place) {
            place = i;
            const int column = i % columns, row = i / columns, channel = row / kTaps, tap = row % kTaps;
            const int from = a.flip ? kTaps - 1 - tap : tap;
            if (i >= bias) return element_or_zero(a.bias ? a.bias : a.weight, a.bias && column < a.channels, column);
            return element_or_zero(a.weight, column < a.channels,
                                   column * a.weight_strides.n + channel * a.weight_strides.c +
                                       from / kKernel * a.weight_strides.h + from % kKernel * a.weight_strides.w);
        });
    }

    __device__ static void run(const DirectConvolutionArgs<T>& a) {
        float* const weights = reinterpret_cast<float*>(ptx::shared_memory());
        float* const band = weights + direct_weights(a.planes.channels * kTaps, a.groups);
        load_weights(a, weights);
        for (int64_t item = blockIdx.x; item < a.items.count; item += gridDim.x) {
            const int64_t first_image = a.items.first_image(item);
            const int first_row = a.items.first_row(item) * kStrip;
            if (item != blockIdx.x) __syncthreads();  // the band's last readers are done
            fill(a.planes, a.source, band, first_image, a.items.images, a.items.batch, first_row * kPool,
                 kFill == Fill::kGradient ? gradient_at<T> : input_at<T>);
            __syncthreads();
            const int tasks = a.items.images * a.items.rows * a.out_w * a.groups;
            for (int task = static_cast<int>(threadIdx.x); task < tasks; task += static_cast<int>(blockDim.x)) {
                int group = task, column;
                if (a.groups_first) {
                    column = a.by_groups.split(group);
                } else {
                    column = task;
                    group = a.by_places.split(column);
                }
                int strip = a.by_out_w.split(column);
                const int image = a.by_strips.split(strip);
                float acc[kRows][kPool][kRun];
                multiply(a, weights + group * kRun, band + a.planes.offset(image, 0, strip * kRows) + column * kPool,
                         acc);
                finish(a, first_image + image, first_row + strip * kStrip, column, group * kRun, acc);
            }
        }
    }

    __device__ static __forceinline__ void multiply(const DirectConvolutionArgs<T>& a, const float* weights,
                                                    const float* pixels, float (&acc)[kRows][kPool][kRun]) {
        const int columns = a.groups * kRun, channels = a.planes.channels;
        const float4 bias = *reinterpret_cast<const float4*>(weights + channels * kTaps * columns);
#pragma unroll
        for (int y = 0; y < kRows; ++y)
#pragma unroll
            for (int x = 0; x < kPool; ++x) {
                acc[y][x][0] = bias.x;
                acc[y][x][1] = bias.y;
                acc[y][x][2] = bias.z;
                acc[y][x][3] = bias.w;
            }
#pragma unroll 1
        for (int channel = 0; channel < channels; ++channel) {
            float field[kFieldRows][kFieldColumns];  // of which as many rows as the strip's are alive at a time
#pragma unroll
            for (int ky = 0; ky < kKernel; ++ky) {
#pragma unroll
                for (int y = ky == 0 ? 0 : ky + kRows - 1; y < ky + kRows; ++y)
#pragma unroll
                    for (int x = 0; x < kFieldColumns; ++x) field[y][x] = pixels[y * a.planes.pitch + x];
#pragma unroll
                for (int kx = 0; kx < kKernel; ++kx) {
                    const float4 w = *reinterpret_cast<const float4*>(weights);
                    weights += columns;
#pragma unroll
                    for (int y = 0; y < kRows; ++y)
#pragma unroll
                        for (int x = 0; x < kPool; ++x) {
                            const float pixel = field[y + ky][x + kx];
                            acc[y][x][0] = fmaf(pixel, w.x, acc[y][x][0]);
                            acc[y][x][1] = fmaf(pixel, w.y, acc[y][x][1]);
                            acc[y][x][2] = fmaf(pixel, w.z, acc[y][x][2]);
                            acc[y][x][3] = fmaf(pixel, w.w, acc[y][x][3]);
                        }
                }
            }
            pixels += a.planes.rows * a.planes.pitch;
        }
    }

    // Maximum, code and ReLU of the strip's windows.
    __device__ static __forceinline__ void finish(const DirectConvolutionArgs<T>& a, int64_t image, int first_row,
                                                  int column, int channel, const float (&acc)[kRows][kPool][kRun]) {
        if (image >= a.items.batch) return;
#pragma unroll
        for (int window = 0; window < kStrip; ++window) {
            const int row = first_row + window;
            if (row >= a.out_h) return;
            Run<T, kRun> values;
            Run<uint8_t, kRun> codes;
#pragma unroll
            for (int i = 0; i < kRun; ++i) {
                const Pooled winner = pooled<kPool * kPool>(
                    a.relu, [&](int position) { return acc[window * kPool + position / kPool][position % kPool][i]; });
                values.set(i, from_float<T>(winner.value));
                codes.set(i, static_cast<uint8_t>(winner.code));
            }
            const int count = a.channels - channel;
            store_run(values,
                      a.output + image * a.output_strides.n + row * a.output_strides.h + column * a.output_strides.w +
                          channel * a.output_strides.c,
                      a.output_strides.c, count, a.whole_runs);
            if (a.code)
                store_run(codes, a.code + ((image * a.out_h + row) * a.out_w + column) * a.channels + channel, 1, count,
                          a.whole_codes);
        }
    }
};

template <typename T, Fill kFill, int kKernel, int kPool>
__global__ void __launch_bounds__(kDirectThreads, kMostDirectBlocks)
    direct_convolution(const DirectConvolutionArgs<T> args) {
    DirectConvolution<T, kFill, kKernel, kPool>::run(args);
}

}  // namespace mnist_fast::cuda
