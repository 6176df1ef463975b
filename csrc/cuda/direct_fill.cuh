// Brings bands of pixels into shared memory for the direct kernels, as floats.
//
// Every element is loaded, one that does not exist from the tensor's beginning: with no branch in between, a thread's
// loads are under way together.
#pragma once

#include "cuda/direct_planes.h"
#include "cuda/fill.cuh"

namespace mnist_fast::cuda {

// By all threads of the block: what load(i, place) returns goes to to[place], for each i below count.
template <typename Load>
__device__ __forceinline__ void bring(int count, float* to, const Load& load) {
    constexpr int kAtOnce = 4;
    const int threads = static_cast<int>(blockDim.x);
    for (int first = static_cast<int>(threadIdx.x); first < count; first += kAtOnce * threads) {
        float values[kAtOnce];
        int places[kAtOnce];
#pragma unroll
        for (int u = 0; u < kAtOnce; ++u) {
            const int i = first + u * threads;
            values[u] = load(i < count ? i : count - 1, places[u]);
        }
#pragma unroll
        for (int u = 0; u < kAtOnce; ++u)
            if (first + u * threads < count) to[places[u]] = values[u];
    }
}

// The element at an offset from the tensor's first, or 0.
template <typename T>
__device__ __forceinline__ float element_or_zero(const T* data, bool exists, int64_t offset) {
    const float value = to_float(data[exists ? offset : 0]);
    return exists ? value : 0;
}

// One element of a band. `row` counts from the image's first.

template <typename T>
__device__ __forceinline__ float input_at(const Source<T>& s, bool exists, int64_t image, int channel, int row,
                                          int column) {
    const int y = row - s.pad_h, x = column - s.pad_w;
    return element_or_zero(s.data, exists && y >= 0 && y < s.h && x >= 0 && x < s.w,
                           image * s.strides.n + y * s.strides.h + x * s.strides.w + channel * s.strides.c);
}

template <typename T>
__device__ __forceinline__ float gradient_at(const Source<T>& s, bool exists, int64_t image, int channel, int row,
                                             int column) {
    const WindowPosition at = window_position(s, row, column);
    exists = exists && at.exists;
    const uint8_t winner = s.code[exists ? ((image * s.h + at.y) * s.w + at.x) * s.channels + channel : 0];
    const float gradient = element_or_zero(
        s.data, exists, image * s.strides.n + at.y * s.strides.h + at.x * s.strides.w + channel * s.strides.c);
    return winner == at.position ? gradient : 0;
}

// Fills the bands of `images` images, of which those before `batch` exist, with input_at() or gradient_at(). They are
// there after a barrier.
template <typename T, typename ElementAt>
__device__ __forceinline__ void fill(const DirectPlanes& planes, const Source<T>& source, float* band,
                                     int64_t first_image, int images, int64_t batch, int first_row,
                                     const ElementAt& element_at) {
    // Neighbouring threads take neighbouring channels where those lie side by side, else neighbouring columns.
    const bool channels_first = source.units_first;
    const Divisor by_first = channels_first ? planes.by_channels : planes.by_columns;
    const Divisor by_second = channels_first ? planes.by_columns : planes.by_rows;
    const Divisor by_third = channels_first ? planes.by_rows : planes.by_channels;
    bring(images * planes.channels * planes.rows * planes.columns, band, [&](int index, int& place) {
        int first = index, second = by_first.split(first), third = by_second.split(second);
        const int image = by_third.split(third);
        const int channel = channels_first ? first : third, column = channels_first ? second : first,
                  row = channels_first ? third : second;
        place = planes.offset(image, channel, row) + column;
        return element_at(source, first_image + image < batch, first_image + image, channel, first_row + row, column);
    });
}

}  // namespace mnist_fast::cuda
