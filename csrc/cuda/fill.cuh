// Brings bands of pixels into shared memory.
#pragma once

#include "core/conv_pool.h"
#include "cuda/divisor.h"
#include "cuda/elements.cuh"
#include "cuda/plane.h"

namespace mnist_fast::cuda {

enum class Fill {
    kInput,     // pixels of the input, with its padding around them
    kIm2col,    // for each position of the convolution all the values that its filter meets: few channels, few units
    kGradient,  // the gradient of the convolution's output, from that of the pooled output and the code
};

template <typename T>
struct Source {
    Fill fill;
    const T* data;  // the input, or the gradient of the pooled output
    Strides strides;
    bool whole_units;  // channels lie side by side, and units are full and aligned
    bool units_first;  // neighbouring threads take neighbouring units, else neighbouring columns
    int channels, h, w;
    int pad_h, pad_w;
    // kIm2col
    int kw, stride_h, stride_w, depth;  // depth: filter positions times channels
    Divisor by_channels, by_kw;
    // kGradient: h and w are those of the pooled output
    const uint8_t* code;                   // [n][h][w][channels]
    Divisor by_dilation_h, by_dilation_w;  // from one position of the convolution to the next
    Divisor by_pool_stride_h, by_pool_stride_w;
    int pool;
};

// One unit of a pixel of the band, in registers or straight to shared memory. `row` counts from the image's first.

template <typename T>
__device__ __forceinline__ void fill_input(const Source<T>& s, int64_t image, int row, int column, int unit,
                                           unsigned char* to) {
    constexpr int kUnit = 16 / static_cast<int>(sizeof(T));
    const int y = row - s.pad_h, x = column - s.pad_w, c = unit * kUnit;
    if (y < 0 || y >= s.h || x < 0 || x >= s.w) return Run<T, kUnit>{}.store(to);
    const T* from = s.data + image * s.strides.n + y * s.strides.h + x * s.strides.w + c * s.strides.c;
    if (s.whole_units) {
        ptx::copy_async(to, from);
        return;
    }
    Run<T, kUnit> run;
    for (int i = 0; i < kUnit; ++i)
        if (c + i < s.channels) run.set(i, from[i * s.strides.c]);
    run.store(to);
}

template <typename T>
__device__ __forceinline__ void fill_im2col(const Source<T>& s, int64_t image, int row, int column, int unit,
                                            unsigned char* to) {
    constexpr int kUnit = 16 / static_cast<int>(sizeof(T));
    Run<T, kUnit> run;
#pragma unroll
    for (int i = 0; i < kUnit; ++i) {
        int c = unit * kUnit + i;
        if (c >= s.depth) break;
        int kx = s.by_channels.split(c);
        const int ky = s.by_kw.split(kx);
        const int y = row * s.stride_h + ky - s.pad_h, x = column * s.stride_w + kx - s.pad_w;
        if (y >= 0 && y < s.h && x >= 0 && x < s.w)
            run.set(i, s.data[image * s.strides.n + y * s.strides.h + x * s.strides.w + c * s.strides.c]);
    }
    run.store(to);
}

// Where a pixel of the gradient's band lies: at which position of which pooling window, if it is a position of the
// convolution and in a window at all.
struct WindowPosition {
    bool exists;
    int y, x, position;
};

template <typename T>
__device__ __forceinline__ WindowPosition window_position(const Source<T>& s, int row, int column) {
    const int above = row - s.pad_h, left = column - s.pad_w;
    int y = above < 0 ? 0 : above, x = left < 0 ? 0 : left;
    int i = s.by_dilation_h.split(y), j = s.by_dilation_w.split(x);
    const bool is_position = above >= 0 && left >= 0 && y == 0 && x == 0;
    const int py = s.by_pool_stride_h.split(i), px = s.by_pool_stride_w.split(j);
    const bool is_in_window = py < s.h && px < s.w && i < s.pool && j < s.pool;
    return {is_position && is_in_window, py, px, i * s.pool + j};
}

template <typename T>
__device__ __forceinline__ void fill_gradient(const Source<T>& s, int64_t image, int row, int column, int unit,
                                              unsigned char* to) {
    constexpr int kUnit = 16 / static_cast<int>(sizeof(T));
    Run<T, kUnit> run;
    const int c = unit * kUnit;
    const WindowPosition at = window_position(s, row, column);
    if (!at.exists || c >= s.channels) return run.store(to);
    const uint8_t* code = s.code + ((image * s.h + at.y) * s.w + at.x) * s.channels + c;
    const T* from = s.data + image * s.strides.n + at.y * s.strides.h + at.x * s.strides.w + c * s.strides.c;
    if (s.whole_units) {
        // A code of each byte, an element of each 16 or 32 bits.
        const uint4 values = *reinterpret_cast<const uint4*>(from);
        const uint32_t words[4] = {values.x, values.y, values.z, values.w};
        const uint32_t* codes = reinterpret_cast<const uint32_t*>(code);
#pragma unroll
        for (int e = 0; e < kUnit; ++e) {
            const int winner = static_cast<int>(codes[e / 4] >> e % 4 * 8 & 0xff);
            constexpr int kBits = Run<T, kUnit>::kBits;
            const uint32_t element = 0xffffffffu >> (32 - kBits) << e * kBits % 32;
            if (winner == at.position) run.words[e * kBits / 32] |= words[e * kBits / 32] & element;
        }
    } else {
        for (int e = 0; e < kUnit; ++e)
            if (c + e < s.channels && code[e] == at.position) run.set(e, from[e * s.strides.c]);
    }
    run.store(to);
}

// Fills the bands of `images` images, of which those before `batch` exist, by all threads of the block. It is there
// after ptx::copies_arrived() and a barrier.
template <typename T>
__device__ __forceinline__ void fill(const Plane& plane, const Source<T>& source, unsigned char* band,
                                     int64_t first_image, int images, int64_t batch, int first_row) {
    const int count = images * plane.rows * plane.columns * plane.units;
    for (int index = static_cast<int>(threadIdx.x); index < count; index += static_cast<int>(blockDim.x)) {
        int unit = index, column, row, image;
        if (source.units_first) {
            column = plane.by_units.split(unit);
            row = plane.by_columns.split(column);
            image = plane.by_rows.split(row);
        } else {
            column = index;
            unit = plane.by_columns.split(column);
            row = plane.by_units.split(unit);
            image = plane.by_rows.split(row);
        }
        unsigned char* to = band + plane.offset(image * plane.rows + row, column) + unit * 16;
        if (first_image + image >= batch)
            Run<T, 16 / static_cast<int>(sizeof(T))>{}.store(to);
        else if (source.fill == Fill::kInput)
            fill_input(source, first_image + image, first_row + row, column, unit, to);
        else if (source.fill == Fill::kIm2col)
            fill_im2col(source, first_image + image, first_row + row, column, unit, to);
        else
            fill_gradient(source, first_image + image, first_row + row, column, unit, to);
    }
}

}  // namespace mnist_fast::cuda
