// The gradient of weight and bias of small layers, by fused multiply-adds of floats at the positions that won.
//
// A thread owns the filters between one input channel and kRun output channels, whole, in registers, and takes every
// so manyth window of the block's items: a share. For each of a window's gradients it adds the receptive field of the
// position that the code names. At the end the block adds up its shares and writes the sums once; reduce.cuh adds those
// of all blocks. All in a fixed order, without atomics.
#pragma once

#include "cuda/direct_fill.cuh"
#include "cuda/items.h"
#include "cuda/layout.h"

namespace mnist_fast::cuda {

template <typename T>
struct DirectGradientArgs {
    Source<T> input;
    DirectPlanes planes;
    Items items;
    int out_h, out_w;              // windows
    Divisor by_windows, by_out_w;  // by_windows: of one image's share of an item
    const T* gradient;
    Strides gradient_strides;
    const uint8_t* code;
    int outputs;      // output channels
    bool whole_runs;  // as for the convolution, of gradient and code
    int groups, shares;
    float* partial;  // [block][tap, channel; then the bias][output channel], as DirectGradientPlan counts them
};

template <typename T, int kKernel, int kPool>
struct DirectWeightGradient {
    static constexpr int kRun = direct_gradient_run(kKernel), kTaps = kKernel * kKernel;

    struct Sums {
        float weight[kTaps][kRun] = {};
        float bias[kRun] = {};
    };

    // The gradients of a window's outputs, the positions that won them, and its first position's field in the band.
    struct Winners {
        Run<T, kRun> gradients;
        Run<uint8_t, kRun> codes;
        int field;
    };

    __device__ static void run(const DirectGradientArgs<T>& a) {
        float* const band = reinterpret_cast<float*>(ptx::shared_memory());
        const int thread = static_cast<int>(threadIdx.x), owners = a.groups * a.planes.channels;
        const int output = thread % a.groups * kRun, channel = thread / a.groups % a.planes.channels;
        const int share = thread / owners;
        const int windows = share < a.shares ? a.items.images * a.items.rows * a.out_w : 0;  // of an item
        Sums sums;
        for (int64_t item = blockIdx.x; item < a.items.count; item += gridDim.x) {
            const int64_t first_image = a.items.first_image(item);
            const int first_row = a.items.first_row(item);
            if (item != blockIdx.x) __syncthreads();  // the band's last readers are done
            fill(a.planes, a.input, band, first_image, a.items.images, a.items.batch, first_row * kPool, input_at<T>);
            __syncthreads();
            // The next window's are under way while the fields of this one's are added up.
            Winners next = winners_of(a, first_image, first_row, share, windows, channel, output);
            for (int window = share; window < windows; window += a.shares) {
                const Winners winners = next;
                next = winners_of(a, first_image, first_row, window + a.shares, windows, channel, output);
                add(a, winners, band, sums);
            }
        }
        __syncthreads();  // the band's last readers are done: the sums take its place
        write(a, band, output, channel, share, sums);
        __syncthreads();
        add_shares(a, band);
    }

    // Of an item's window; all dead where there is none.
    __device__ static __forceinline__ Winners winners_of(const DirectGradientArgs<T>& a, int64_t first_image,
                                                         int first_row, int window, int windows, int channel,
                                                         int output) {
        Winners winners{};
        int column = window;
        const int item_image = a.by_windows.split(column), item_row = a.by_out_w.split(column);
        const int64_t image = first_image + item_image;
        const int row = first_row + item_row;
        const bool exist = window < windows && image < a.items.batch && row < a.out_h;
        winners.field = a.planes.offset(item_image, channel, item_row * kPool) + column * kPool;
        const T* const from = a.gradient + image * a.gradient_strides.n + row * a.gradient_strides.h +
                              column * a.gradient_strides.w + output * a.gradient_strides.c;
        const uint8_t* const code = a.code + ((image * a.out_h + row) * a.out_w + column) * a.outputs + output;
        if (exist && a.whole_runs) {
            winners.gradients.load(from);
            winners.codes.load(code);
        } else {
#pragma unroll
            for (int i = 0; i < kRun; ++i) {
                const bool exists = exist && output + i < a.outputs;
                winners.codes.set(i, exists ? code[i] : kDead);
                if (exists) winners.gradients.set(i, from[i * a.gradient_strides.c]);
            }
        }
        return winners;
    }

    __device__ static __forceinline__ void add(const DirectGradientArgs<T>& a, const Winners& winners,
                                               const float* band, Sums& sums) {
        const float* const field = band + winners.field;
        float pixels[kTaps];
        const auto load_field = [&](const float* from) {
#pragma unroll
            for (int tap = 0; tap < kTaps; ++tap) pixels[tap] = from[tap / kKernel * a.planes.pitch + tap % kKernel];
        };
        if (kPool == 1) load_field(field);  // one for all channels
#pragma unroll
        for (int i = 0; i < kRun; ++i) {
            const int position = winners.codes.get(i);
            if (position >= kPool * kPool) continue;  // dead
            if (kPool > 1) load_field(field + position / kPool * a.planes.pitch + position % kPool);
            const float gradient = to_float(winners.gradients.get(i));
            sums.bias[i] += gradient;
#pragma unroll
            for (int tap = 0; tap < kTaps; ++tap)
                sums.weight[tap][i] = fmaf(gradient, pixels[tap], sums.weight[tap][i]);
        }
    }

    // Partial sums of a share: a row for each tap and input channel, and the bias in the last one.
    __device__ static int rows(const DirectGradientArgs<T>& a) { return kTaps * a.planes.channels + 1; }
    __device__ static int columns(const DirectGradientArgs<T>& a) { return a.groups * kRun; }

    __device__ static void write(const DirectGradientArgs<T>& a, float* shares, int output, int channel, int share,
                                 const Sums& sums) {
        if (share >= a.shares) return;
        float* const to = shares + share * rows(a) * columns(a) + output;
#pragma unroll
        for (int i = 0; i < kRun; ++i) {
#pragma unroll
            for (int tap = 0; tap < kTaps; ++tap)
                to[(tap * a.planes.channels + channel) * columns(a) + i] = sums.weight[tap][i];
            if (channel == 0) to[(rows(a) - 1) * columns(a) + i] = sums.bias[i];
        }
    }

    __device__ static void add_shares(const DirectGradientArgs<T>& a, const float* shares) {
        const int size = rows(a) * columns(a);
        for (int i = static_cast<int>(threadIdx.x); i < size; i += static_cast<int>(blockDim.x)) {
            float sum = 0;
            for (int share = 0; share < a.shares; ++share) sum += shares[share * size + i];
            a.partial[static_cast<int64_t>(blockIdx.x) * size + i] = sum;
        }
    }
};

template <typename T, int kKernel, int kPool>
__global__ void __launch_bounds__(kDirectGradientThreads, kMostDirectGradientBlocks)
    direct_weight_gradient(const DirectGradientArgs<T> args) {
    DirectWeightGradient<T, kKernel, kPool>::run(args);
}

}  // namespace mnist_fast::cuda
