// Host side: what a problem's bands are filled from (fill.cuh), and which accesses its tensors are aligned for.
#pragma once

#include <cstdint>

#include "core/conv_pool.h"
#include "cuda/fill.cuh"
#include "cuda/layout.h"

namespace mnist_fast::cuda {

// Whether `elements` of a pixel's channels, from every such multiple on, can be accessed at once, 16 bytes at most.
template <typename T>
bool is_aligned(const T* data, const Strides& s, int64_t elements) {
    const auto bytes = elements * static_cast<int64_t>(sizeof(T));
    const auto aligned = static_cast<uintptr_t>(bytes < kUnitBytes ? bytes : kUnitBytes);
    const auto unit = static_cast<int64_t>(aligned / sizeof(T));
    return reinterpret_cast<uintptr_t>(data) % aligned == 0 && s.c == 1 && s.n % unit == 0 && s.h % unit == 0 &&
           s.w % unit == 0;
}
inline bool is_aligned(const uint8_t* code) { return reinterpret_cast<uintptr_t>(code) % kUnitBytes == 0; }

// im2col: see Fill::kIm2col.
template <typename T>
Source<T> input_source(const ConvPool& p, const T* input, const Strides& strides, bool im2col) {
    constexpr int kUnit = kUnitBytes / static_cast<int>(sizeof(T));
    Source<T> s{};
    s.fill = im2col ? Fill::kIm2col : Fill::kInput;
    s.data = input;
    s.strides = strides;
    s.whole_units = p.c % kUnit == 0 && is_aligned(input, strides, kUnit);
    s.units_first = !im2col && strides.c == 1;
    s.channels = static_cast<int>(p.c);
    s.h = static_cast<int>(p.h);
    s.w = static_cast<int>(p.w);
    s.pad_h = static_cast<int>(p.pad_h);
    s.pad_w = static_cast<int>(p.pad_w);
    s.stride_h = static_cast<int>(p.stride_h);
    s.stride_w = static_cast<int>(p.stride_w);
    s.depth = static_cast<int>(p.kh * p.kw * p.c);
    s.by_channels = Divisor(s.channels);
    s.by_kw = Divisor(static_cast<int>(p.kw));
    return s;
}

// The gradient of the convolution's output, its positions `dilation` apart behind `pad` zeros.
template <typename T>
Source<T> gradient_source(const BackwardArgs<T>& args, int dilation_h, int dilation_w, int pad_h, int pad_w) {
    constexpr int kUnit = kUnitBytes / static_cast<int>(sizeof(T));
    const ConvPool& p = args.p;
    Source<T> s{};
    s.fill = Fill::kGradient;
    s.data = args.grad_output;
    s.strides = args.grad_output_strides;
    s.whole_units = p.o % kUnit == 0 && is_aligned(args.grad_output, s.strides, kUnit) && is_aligned(args.code);
    s.units_first = s.strides.c == 1;
    s.channels = static_cast<int>(p.o);
    s.h = static_cast<int>(p.out_h);
    s.w = static_cast<int>(p.out_w);
    s.pad_h = pad_h;
    s.pad_w = pad_w;
    s.code = args.code;
    s.by_dilation_h = Divisor(dilation_h);
    s.by_dilation_w = Divisor(dilation_w);
    s.by_pool_stride_h = Divisor(static_cast<int>(p.pool_stride_h));
    s.by_pool_stride_w = Divisor(static_cast<int>(p.pool_stride_w));
    s.pool = static_cast<int>(p.pool_h);
    return s;
}

}  // namespace mnist_fast::cuda
