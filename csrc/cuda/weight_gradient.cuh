// The gradient of weight and bias, in two stages without atomics: every block adds up the products of its items in
// registers and writes them once (partial sums); a second kernel adds those in a fixed order.
//
// Rows of the products are the weight's taps and channels, columns its output channels, and the depth runs over the
// positions of the convolution, of which each item brings a band of the input and of the gradient into shared memory.
// The bias is the weight of one more channel that is 1 everywhere.
#pragma once

#include "core/conv_pool.h"
#include "cuda/arithmetic.cuh"
#include "cuda/items.h"
#include "cuda/layout.h"
#include "cuda/fill.cuh"

namespace mnist_fast::cuda {

template <typename T>
struct WeightGradientArgs {
    Source<T> input, gradient;
    Plane input_plane, gradient_plane;  // the latter without any padding: its pixels are numbered through
    Items items;
    int step_h;                    // rows of the input plane from one row of windows to the next
    int window_rows;               // rows of the gradient plane from one row of windows to the next
    int position_h, position_w;    // pixels of the input plane from one position of the convolution to the next
    int pixels;                    // positions of an item
    int taps_w, tap_units, units;  // rows: units of the input plane
    int row_warps, depth_warps;    // warps along the rows; the others share the steps of the depth
    float* partial;                // [items' share][depth warp][rows][columns]
    int64_t partial_rows, partial_columns;
};

template <typename Arithmetic, int kColumnTiles>
struct WeightGradient {
    using T = typename Arithmetic::Element;
    using A = typename Arithmetic::A;
    using B = typename Arithmetic::B;
    static constexpr int kTileUnits = kTileRows / Arithmetic::kUnit;
    static constexpr int kWarpUnits = kRowTilesOfWarp * kTileUnits;
    static constexpr int kColumns = kColumnTiles * kTileColumns;

    // Offsets of units that are in no plane.
    static constexpr int kZero = -1, kOne = -2;

    // Units of this block's rows.
    __device__ static int unit_count(const WeightGradientArgs<T>& a) { return a.row_warps * kWarpUnits; }

    // The same for all items: where units and pixels lie in the input's plane.
    __device__ static void write_offsets(const WeightGradientArgs<T>& a, int* unit_offsets, int* pixel_offsets) {
        const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
        for (int i = thread; i < unit_count(a); i += threads) {
            const int unit = static_cast<int>(blockIdx.y) * unit_count(a) + i, tap = unit / a.tap_units;
            unit_offsets[i] =
                unit < a.units ? a.input_plane.offset(tap / a.taps_w, tap % a.taps_w) + unit % a.tap_units * kUnitBytes
                : unit == a.units ? kOne
                                  : kZero;
        }
        for (int i = thread; i < a.pixels; i += threads) {
            int column = i;
            int row = a.gradient_plane.by_columns.split(column);
            const int image = a.gradient_plane.by_rows.split(row);
            pixel_offsets[i] =
                a.input_plane.offset(image * a.input_plane.rows + row * a.position_h, column * a.position_w);
        }
    }

    // Products run over whole steps; behind the last pixel the gradient is 0.
    __device__ static void clear_behind(const WeightGradientArgs<T>& a, unsigned char* gradient) {
        const int end = (a.pixels + Arithmetic::kDepth - 1) / Arithmetic::kDepth * Arithmetic::kDepth;
        for (int i = a.pixels * a.gradient_plane.pitch + static_cast<int>(threadIdx.x) * kUnitBytes;
             i < end * a.gradient_plane.pitch; i += static_cast<int>(blockDim.x) * kUnitBytes)
            Run<T, Arithmetic::kUnit>{}.store(gradient + i);
    }

    __device__ static void run(const WeightGradientArgs<T>& a) {
        unsigned char* const shared = ptx::shared_memory();
        const WeightGradientMemory at(unit_count(a), a.pixels,
                                      a.items.images * a.input_plane.rows * a.input_plane.row_pitch, 0);
        int* const unit_offsets = reinterpret_cast<int*>(shared + at.unit_offsets);
        int* const pixel_offsets = reinterpret_cast<int*>(shared + at.pixel_offsets);
        const int warp = static_cast<int>(threadIdx.x) / 32;
        const int row_warp = warp % a.row_warps, depth_warp = warp / a.row_warps;

        if (threadIdx.x == 0) {
            Run<T, Arithmetic::kUnit> unit;
            unit.store(shared + at.zero_unit);
            unit.set(0, from_float<T>(1));
            unit.store(shared + at.one_unit);
        }
        write_offsets(a, unit_offsets, pixel_offsets);
        clear_behind(a, shared + at.gradient);

        float acc[kRowTilesOfWarp][kColumnTiles][4] = {};
        for (int64_t item = blockIdx.x; item < a.items.count; item += gridDim.x) {
            const int64_t first_image = a.items.first_image(item);
            const int first_row = a.items.first_row(item);
            __syncthreads();  // the bands' last readers are done
            fill(a.input_plane, a.input, shared + at.input, first_image, a.items.images, a.items.batch,
                 first_row * a.step_h);
            fill(a.gradient_plane, a.gradient, shared + at.gradient, first_image, a.items.images, a.items.batch,
                 first_row * a.window_rows);
            ptx::copies_arrived();
            __syncthreads();
            multiply(a, shared, at, unit_offsets + row_warp * kWarpUnits, pixel_offsets, depth_warp, acc);
        }
        write(a, row_warp, depth_warp, acc);
    }

    __device__ static __forceinline__ void multiply(const WeightGradientArgs<T>& a, const unsigned char* shared,
                                                    const WeightGradientMemory& at, const int* unit_offsets,
                                                    const int* pixel_offsets, int depth_warp,
                                                    float (&acc)[kRowTilesOfWarp][kColumnTiles][4]) {
        constexpr int kPixels = Arithmetic::kLanePixels, kUnits = Arithmetic::kLaneUnits;
        const int lane = static_cast<int>(threadIdx.x) % 32;
        int units[kRowTilesOfWarp][kUnits];
#pragma unroll
        for (int m = 0; m < kRowTilesOfWarp; ++m)
#pragma unroll
            for (int u = 0; u < kUnits; ++u)
                units[m][u] = unit_offsets[m * kTileUnits + Arithmetic::lane_unit(lane, u)];

#pragma unroll 1
        for (int pixel = depth_warp * Arithmetic::kDepth; pixel < a.pixels;
             pixel += a.depth_warps * Arithmetic::kDepth) {
            const unsigned char* pixels[kPixels];
#pragma unroll
            for (int p = 0; p < kPixels; ++p) {
                const int i = pixel + Arithmetic::lane_pixel(lane, p);
                pixels[p] = i < a.pixels ? shared + at.input + pixel_offsets[i] : nullptr;  // 0 * infinity is not 0
            }
            A rows[kRowTilesOfWarp];
#pragma unroll
            for (int m = 0; m < kRowTilesOfWarp; ++m) {
                const unsigned char* addresses[kPixels][kUnits];
#pragma unroll
                for (int p = 0; p < kPixels; ++p)
#pragma unroll
                    for (int u = 0; u < kUnits; ++u)
                        addresses[p][u] = units[m][u] == kOne             ? shared + at.one_unit
                                          : units[m][u] < 0 || !pixels[p] ? shared + at.zero_unit
                                                                          : pixels[p] + units[m][u];
                Arithmetic::gather_a(rows[m], addresses, lane);
            }
            const unsigned char* gradient = shared + at.gradient + pixel * a.gradient_plane.pitch +
                                            static_cast<int>(blockIdx.z) * kColumns * static_cast<int>(sizeof(T));
#pragma unroll
            for (int n = 0; n < kColumnTiles; ++n) {
                B columns;
                Arithmetic::gather_b(columns, gradient + n * kTileColumns * static_cast<int>(sizeof(T)),
                                     a.gradient_plane.pitch, lane);
#pragma unroll
                for (int m = 0; m < kRowTilesOfWarp; ++m) Arithmetic::multiply(acc[m][n], rows[m], columns);
            }
        }
    }

    __device__ static void write(const WeightGradientArgs<T>& a, int row_warp, int depth_warp,
                                 const float (&acc)[kRowTilesOfWarp][kColumnTiles][4]) {
        const int lane = static_cast<int>(threadIdx.x) % 32;
        const int64_t share = static_cast<int64_t>(blockIdx.x) * a.depth_warps + depth_warp;
        float* const to = a.partial + share * a.partial_rows * a.partial_columns;
        const int first_row = (static_cast<int>(blockIdx.y) * a.row_warps + row_warp) * kRowTilesOfWarp * kTileRows;
        const int first_column = static_cast<int>(blockIdx.z) * kColumns;
#pragma unroll
        for (int m = 0; m < kRowTilesOfWarp; ++m)
#pragma unroll
            for (int n = 0; n < kColumnTiles; ++n)
#pragma unroll
                for (int i = 0; i < 4; i += 2) {
                    const int64_t row = first_row + m * kTileRows + lane / 4 + 8 * (i / 2);
                    const int column = first_column + n * kTileColumns + lane % 4 * 2;
                    *reinterpret_cast<float2*>(to + row * a.partial_columns + column) =
                        make_float2(acc[m][n][i], acc[m][n][i + 1]);
                }
    }
};

template <typename Arithmetic, int kColumnTiles>
__global__ void __launch_bounds__(32 * kMaxGradientWarps, 1)
    weight_gradient(const WeightGradientArgs<typename Arithmetic::Element> args) {
    WeightGradient<Arithmetic, kColumnTiles>::run(args);
}

}  // namespace mnist_fast::cuda
