#include "cpu/samples.h"

#include <cstring>

#include "core/scratch.h"

namespace mnist_fast::cpu {
namespace {

// One row of pixels: to[x][c] = from[c * sc + x * sw].
template <typename T>
void gather_row(const SampleView<const T>& s, const T* from, T* to) {
    if (s.sc == 1 && s.sw == s.c) {
        std::memcpy(to, from, static_cast<size_t>(s.w * s.c) * sizeof(T));
        return;
    }
    for (int64_t c = 0; c < s.c; ++c)
        for (int64_t x = 0; x < s.w; ++x) to[x * s.c + c] = from[c * s.sc + x * s.sw];
}

}  // namespace

template <typename T>
const T* stage_input(const ConvPool& p, const SampleView<const T>& s, int64_t first_row, int64_t rows,
                     bool may_read_past, int64_t slack) {
    const bool unpadded = p.pad_h == 0 && p.pad_w == 0;
    if (unpadded && s.is_dense_channels_last() && (may_read_past || slack == 0)) return s.data + first_row * s.w * s.c;

    const int64_t row_size = p.padded_w() * p.c, pad = p.pad_w * p.c;
    T* const staged = scratch<T>(Slot::kInput, rows * row_size + slack);
    for (int64_t row = 0; row < rows; ++row) {
        T* to = staged + row * row_size;
        const int64_t y = first_row + row - p.pad_h;
        if (y < 0 || y >= p.h) {
            std::memset(to, 0, static_cast<size_t>(row_size) * sizeof(T));
            continue;
        }
        std::memset(to, 0, static_cast<size_t>(pad) * sizeof(T));
        gather_row(s, s.data + y * s.sh, to + pad);
        std::memset(to + row_size - pad, 0, static_cast<size_t>(pad) * sizeof(T));
    }
    std::memset(staged + rows * row_size, 0, static_cast<size_t>(slack) * sizeof(T));
    return staged;
}

template <typename T>
const T* stage_grad_output(const SampleView<const T>& s) {
    if (s.is_dense_channels_last()) return s.data;
    T* const staged = scratch<T>(Slot::kGradOutput, s.h * s.w * s.c);
    for (int64_t y = 0; y < s.h; ++y) gather_row(s, s.data + y * s.sh, staged + y * s.w * s.c);
    return staged;
}

template <typename T>
void unstage(const T* from, int64_t from_w, int64_t pad_h, int64_t pad_w, const SampleView<T>& to) {
    for (int64_t y = 0; y < to.h; ++y) {
        const T* row = from + ((y + pad_h) * from_w + pad_w) * to.c;
        T* out = to.data + y * to.sh;
        if (to.sc == 1 && to.sw == to.c) {
            std::memcpy(out, row, static_cast<size_t>(to.w * to.c) * sizeof(T));
            continue;
        }
        for (int64_t c = 0; c < to.c; ++c)
            for (int64_t x = 0; x < to.w; ++x) out[c * to.sc + x * to.sw] = row[x * to.c + c];
    }
}

#define MNIST_FAST_INSTANTIATE(T)                                                                                \
    template const T* stage_input(const ConvPool&, const SampleView<const T>&, int64_t, int64_t, bool, int64_t); \
    template const T* stage_grad_output(const SampleView<const T>&);                                             \
    template void unstage(const T*, int64_t, int64_t, int64_t, const SampleView<T>&);
MNIST_FAST_INSTANTIATE(float)
MNIST_FAST_INSTANTIATE(double)
#undef MNIST_FAST_INSTANTIATE

}  // namespace mnist_fast::cpu
