// The forward kernel, and with another source and other weights the input gradient: products of pixels with packed
// weights on tensor cores, bias, maximum over each pooling window, code, ReLU, without the convolution in memory.
//
// A warp multiplies 8 windows' worth of rows at a time: row g of a tile belongs to window g. The tiles are dealt so
// that one lane's accumulators are all positions of its windows: half h (rows g or g + 8) of tile m is slot 2m + h;
// slot s is position s % positions of window group s / positions. So pooling needs no exchange between lanes. The
// columns are dealt (by pack.cuh) so that a lane's accumulators are 2 * kColumnTiles channels side by side.
#pragma once

#include "core/conv_pool.h"
#include "cuda/arithmetic.cuh"
#include "cuda/items.h"
#include "cuda/layout.h"
#include "cuda/fill.cuh"
#include "cuda/pooling.cuh"

namespace mnist_fast::cuda {

template <typename T>
struct ConvolutionArgs {
    Source<T> source;
    Plane plane;
    Items items;
    // Windows, and the pixels of the plane they begin at; from position to position within one.
    int out_h, out_w;
    Divisor by_windows, by_out_w;  // by_windows: of one image's share of an item
    int step_h, step_w, position_h, position_w;
    // The depth of the products: taps_h x taps_w pixels of tap_units units each, in steps of two units.
    int taps_w, tap_units, units, steps;
    const unsigned char* packed;
    int packed_bytes;  // of the columns that one block computes
    const T* bias;     // or null
    int channels;
    bool relu;
    T* output;
    Strides output_strides;
    uint8_t* code;     // or null
    bool whole_runs;   // a lane's channels exist all or none, lie side by side, and are aligned for vector stores
    bool whole_codes;  // likewise
};

template <typename Arithmetic, int kPool, int kColumnTiles>
struct Convolution {
    using T = typename Arithmetic::Element;
    using A = typename Arithmetic::A;
    using B = typename Arithmetic::B;
    static constexpr int kPositions = kPool * kPool;
    static constexpr int kRowTiles = kPositions == 1 ? 2 : (kPositions + 1) / 2;
    static constexpr int kGroups = kPositions == 1 ? 4 : 1;
    static constexpr int kWindows = 8 * kGroups;  // per warp at a time
    static constexpr int kColumns = kColumnTiles * kTileColumns;
    static constexpr int kRun = 2 * kColumnTiles;  // channels of one lane, side by side

    static constexpr int kNoUnit = -1;

    // The offsets of all units from a window's position in column j of the window, and of a unit of zeros behind the
    // last.
    __device__ static void write_offsets(const ConvolutionArgs<T>& a, int* offsets) {
        for (int index = static_cast<int>(threadIdx.x); index < kPool * 2 * a.steps;
             index += static_cast<int>(blockDim.x)) {
            const int j = index / (2 * a.steps), unit = index % (2 * a.steps);
            const int tap = unit / a.tap_units;
            offsets[index] = unit < a.units ? a.plane.offset(tap / a.taps_w, j * a.position_w + tap % a.taps_w) +
                                                  unit % a.tap_units * kUnitBytes
                                            : kNoUnit;
        }
    }

    __device__ static void run(const ConvolutionArgs<T>& a) {
        unsigned char* const shared = ptx::shared_memory();
        const ConvolutionMemory at(a.packed_bytes, kColumns, kPool, a.steps);
        unsigned char* const zero_unit = shared + at.zero_unit;
        float* const bias = reinterpret_cast<float*>(shared + at.bias);
        int* const offsets = reinterpret_cast<int*>(shared + at.offsets);
        unsigned char* const band = shared + at.band;
        const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
        const int first_channel = static_cast<int>(blockIdx.y) * kColumns;

        const unsigned char* const packed = a.packed + static_cast<int64_t>(blockIdx.y) * a.packed_bytes;
        for (int i = thread * kUnitBytes; i < a.packed_bytes; i += threads * kUnitBytes)
            ptx::copy_async(shared + i, packed + i);
        for (int i = thread; i < kColumns; i += threads)
            bias[i] = a.bias && first_channel + i < a.channels ? to_float(a.bias[first_channel + i]) : 0.f;
        if (thread == 0) Run<T, Arithmetic::kUnit>{}.store(zero_unit);
        write_offsets(a, offsets);

        for (int64_t item = blockIdx.x; item < a.items.count; item += gridDim.x) {
            const int64_t first_image = a.items.first_image(item);
            const int first_row = a.items.first_row(item);
            __syncthreads();  // the band's last readers are done
            fill(a.plane, a.source, band, first_image, a.items.images, a.items.batch, first_row * a.step_h);
            ptx::copies_arrived();
            __syncthreads();
            const int windows = a.items.images * a.items.rows * a.out_w;
            for (int first = thread / 32 * kWindows; first < windows; first += kConvolutionWarps * kWindows) {
                float acc[kRowTiles][kColumnTiles][4];
                multiply(a, shared, bias, zero_unit, offsets, band, first, windows, acc);
                finish(a, first_image, first_row, first, windows, first_channel, acc);
                __syncwarp();  // lanes without channels or windows are ahead; multiply() takes all together
            }
        }
    }

    // The sums of 8 * kGroups windows from `first` on, with their bias.
    __device__ static __forceinline__ void multiply(const ConvolutionArgs<T>& a, const unsigned char* packed,
                                                    const float* bias, const unsigned char* zero_unit,
                                                    const int* offsets, const unsigned char* band, int first,
                                                    int windows, float (&acc)[kRowTiles][kColumnTiles][4]) {
        const int lane = static_cast<int>(threadIdx.x) % 32, half = lane / 8 % 2;
        // This lane gives the addresses of these rows: of window lane % 8, in the slot that its half has in each tile.
        const unsigned char* rows[kRowTiles];
        const int* row_offsets[kRowTiles];
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) {
            const int slot = 2 * m + half;
            int window = first + (kPositions == 1 ? slot : 0) * 8 + lane % 8;
            if (window >= windows) window = 0;  // it is not stored; any address serves
            const int position = kPositions == 1 || slot >= kPositions ? 0 : slot;
            const int image = a.by_windows.split(window), row = a.by_out_w.split(window);
            rows[m] = band +
                      (image * a.plane.rows + row * a.step_h + position / kPool * a.position_h) * a.plane.row_pitch +
                      a.plane.place(window * a.step_w) * a.plane.pitch;
            row_offsets[m] = offsets + position % kPool * 2 * a.steps + lane / 16;
        }
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m)
#pragma unroll
            for (int n = 0; n < kColumnTiles; ++n)
#pragma unroll
                for (int i = 0; i < 4; ++i) acc[m][n][i] = bias[lane % 4 * kRun + 2 * n + i % 2];

#pragma unroll 1
        for (int step = 0; step < a.steps; ++step) {
            A rows_of_step[kRowTiles];
#pragma unroll
            for (int m = 0; m < kRowTiles; ++m) {
                const int offset = row_offsets[m][2 * step];
                Arithmetic::load_a(rows_of_step[m], offset == kNoUnit ? zero_unit : rows[m] + offset, lane);
            }
#pragma unroll
            for (int n = 0; n < kColumnTiles; ++n) {
                B columns;
                Arithmetic::load_b(columns, packed + (step * kColumnTiles + n) * kTileBytes, lane);
#pragma unroll
                for (int m = 0; m < kRowTiles; ++m) Arithmetic::multiply(acc[m][n], rows_of_step[m], columns);
            }
        }
    }

    // Maximum, code and ReLU of this lane's windows and channels.
    __device__ static __forceinline__ void finish(const ConvolutionArgs<T>& a, int64_t first_image, int first_row,
                                                  int first, int windows, int first_channel,
                                                  const float (&acc)[kRowTiles][kColumnTiles][4]) {
        const int lane = static_cast<int>(threadIdx.x) % 32;
        const int channel = first_channel + lane % 4 * kRun;
        if (channel >= a.channels) return;
#pragma unroll
        for (int group = 0; group < kGroups; ++group) {
            int column = first + group * 8 + lane / 4;
            if (column >= windows) continue;
            const int64_t image = first_image + a.by_windows.split(column);
            const int row = first_row + a.by_out_w.split(column);
            if (image >= a.items.batch || row >= a.out_h) continue;

            Run<T, kRun> values;
            Run<uint8_t, kRun> codes;
#pragma unroll
            for (int i = 0; i < kRun; ++i) {
                const Pooled winner = pooled<kPositions>(a.relu, [&](int position) {
                    const int slot = group * kPositions + position;
                    return acc[slot / 2][i / 2][slot % 2 * 2 + i % 2];
                });
                values.set(i, from_float<T>(winner.value));
                codes.set(i, static_cast<uint8_t>(winner.code));
            }
            store_run(values,
                      a.output + image * a.output_strides.n + row * a.output_strides.h + column * a.output_strides.w +
                          channel * a.output_strides.c,
                      a.output_strides.c, a.channels - channel, a.whole_runs);
            if (a.code)
                store_run(codes, a.code + ((image * a.out_h + row) * a.out_w + column) * a.channels + channel, 1,
                          a.channels - channel, a.whole_codes);
        }
    }
};

template <typename Arithmetic, int kPool, int kColumnTiles>
__global__ void __launch_bounds__(32 * kConvolutionWarps, sizeof(typename Arithmetic::Element) == 2 ? 4 : 3)
    convolution(const ConvolutionArgs<typename Arithmetic::Element> args) {
    Convolution<Arithmetic, kPool, kColumnTiles>::run(args);
}

}  // namespace mnist_fast::cuda
