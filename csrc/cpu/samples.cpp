#include "cpu/samples.h"

#include <cstring>
#include <type_traits>

#include "core/scratch.h"

namespace mnist_fast::cpu {
namespace {

template <typename From, typename To, typename T>
void convert(const Kernels<T>& kernels, const From* from, int64_t count, To* to) {
    if constexpr (std::is_same_v<From, To>)
        std::memcpy(to, from, static_cast<size_t>(count) * sizeof(To));
    else if constexpr (std::is_same_v<To, T>)
        kernels.widen(from, count, to);
    else
        kernels.narrow(from, count, to);
}

// `pixels` neighbouring pixels, a step of sw apart in the sample, as to[pixel][c].
template <typename S, typename Staged, typename T>
void gather_pixels(const Kernels<T>& kernels, const SampleView<const S>& s, const S* from, int64_t pixels, Staged* to) {
    if (s.sc == 1 && s.sw == s.c) return convert(kernels, from, pixels * s.c, to);
    if (s.sw == 1) {
        if constexpr (std::is_same_v<S, T>) return kernels.transpose(from, s.sc, s.c, pixels, to, s.c, false);
        T* const planes = scratch<T>(Slot::kPlanes, 2 * s.c * pixels);
        for (int64_t c = 0; c < s.c; ++c) convert(kernels, from + c * s.sc, pixels, planes + c * pixels);
        if constexpr (std::is_same_v<Staged, T>) return kernels.transpose(planes, pixels, s.c, pixels, to, s.c, false);
        T* const transposed = planes + s.c * pixels;
        kernels.transpose(planes, pixels, s.c, pixels, transposed, s.c, false);
        return convert(kernels, transposed, s.c * pixels, to);
    }
    for (int64_t x = 0; x < pixels; ++x)
        for (int64_t c = 0; c < s.c; ++c) to[x * s.c + c] = static_cast<Staged>(from[c * s.sc + x * s.sw]);
}

// The reverse of gather_pixels().
template <typename S, typename T>
void scatter_pixels(const Kernels<T>& kernels, const T* from, const SampleView<S>& s, S* to, int64_t pixels) {
    if (s.sc == 1 && s.sw == s.c) {
        convert(kernels, from, pixels * s.c, to);
    } else if (s.sw != 1) {
        for (int64_t x = 0; x < pixels; ++x)
            for (int64_t c = 0; c < s.c; ++c) to[c * s.sc + x * s.sw] = static_cast<S>(from[x * s.c + c]);
    } else if constexpr (std::is_same_v<S, T>) {
        kernels.transpose(from, s.c, pixels, s.c, to, s.sc, true);
    } else {
        T* const planes = scratch<T>(Slot::kPlanes, s.c * pixels);
        kernels.transpose(from, s.c, pixels, s.c, planes, pixels, true);
        for (int64_t c = 0; c < s.c; ++c) convert(kernels, planes + c * pixels, pixels, to + c * s.sc);
    }
}

// Whether all rows of a sample follow each other at the distance of pixels, so that it is one long row.
template <typename S>
bool is_one_row(const SampleView<S>& s) {
    return s.sh == s.w * s.sw || s.h == 1;
}

}  // namespace

template <typename Staged, typename S, typename T>
const Staged* stage_input(const Kernels<T>& kernels, const ConvPool& p, const SampleView<const S>& s, int64_t first_row,
                          int64_t rows, bool may_read_past, int64_t slack) {
    const bool unpadded = p.pad_h == 0 && p.pad_w == 0;
    if constexpr (std::is_same_v<S, Staged>)
        if (unpadded && s.is_dense_channels_last() && (may_read_past || slack == 0))
            return s.data + first_row * s.w * s.c;

    const int64_t row_size = p.padded_w() * p.c, pad = p.pad_w * p.c;
    Staged* const staged = scratch<Staged>(Slot::kInput, rows * row_size + slack);
    const auto clear = [](Staged* at, int64_t count) {
        std::memset(at, 0, static_cast<size_t>(count) * sizeof(Staged));
    };
    if (unpadded && is_one_row(s)) {
        gather_pixels(kernels, s, s.data + first_row * s.sh, rows * s.w, staged);
    } else {
        for (int64_t row = 0; row < rows; ++row) {
            Staged* const to = staged + row * row_size;
            const int64_t y = first_row + row - p.pad_h;
            if (y < 0 || y >= p.h) {
                clear(to, row_size);
                continue;
            }
            clear(to, pad);
            gather_pixels(kernels, s, s.data + y * s.sh, s.w, to + pad);
            clear(to + row_size - pad, pad);
        }
    }
    clear(staged + rows * row_size, slack);
    return staged;
}

template <typename S, typename T>
const T* stage_grad_output(const Kernels<T>& kernels, const SampleView<const S>& s) {
    if constexpr (std::is_same_v<S, T>)
        if (s.is_dense_channels_last()) return s.data;
    T* const staged = scratch<T>(Slot::kGradOutput, s.h * s.w * s.c);
    if (is_one_row(s))
        gather_pixels(kernels, s, s.data, s.h * s.w, staged);
    else
        for (int64_t y = 0; y < s.h; ++y) gather_pixels(kernels, s, s.data + y * s.sh, s.w, staged + y * s.w * s.c);
    return staged;
}

template <typename S, typename T>
void unstage(const Kernels<T>& kernels, const T* from, int64_t from_w, int64_t pad_h, int64_t pad_w,
             const SampleView<S>& to) {
    if (from_w == to.w && is_one_row(to))
        return scatter_pixels(kernels, from + pad_h * to.w * to.c, to, to.data, to.h * to.w);
    for (int64_t y = 0; y < to.h; ++y)
        scatter_pixels(kernels, from + ((y + pad_h) * from_w + pad_w) * to.c, to, to.data + y * to.sh, to.w);
}

#define MNIST_FAST_INSTANTIATE(S, T)                                                                                   \
    template const T* stage_input<T>(const Kernels<T>&, const ConvPool&, const SampleView<const S>&, int64_t, int64_t, \
                                     bool, int64_t);                                                                   \
    template const T* stage_grad_output(const Kernels<T>&, const SampleView<const S>&);                                \
    template void unstage(const Kernels<T>&, const T*, int64_t, int64_t, int64_t, const SampleView<S>&);
MNIST_FAST_INSTANTIATE(float, float)
MNIST_FAST_INSTANTIATE(double, double)
MNIST_FAST_INSTANTIATE(bfloat16, float)
#undef MNIST_FAST_INSTANTIATE
template const bfloat16* stage_input<bfloat16>(const Kernels<float>&, const ConvPool&,
                                               const SampleView<const bfloat16>&, int64_t, int64_t, bool, int64_t);

}  // namespace mnist_fast::cpu
