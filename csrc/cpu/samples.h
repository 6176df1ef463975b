// Between tensors with any strides and the dense, padded, channels-innermost samples that the kernels work on. S: the
// tensor's element type, T: Compute<S>.
#pragma once

#include "core/bfloat16.h"
#include "core/conv_pool.h"
#include "cpu/kernels.h"

namespace mnist_fast::cpu {

// A view of one (C, H, W) sample.
template <typename S>
struct SampleView {
    S* data;
    int64_t c, h, w;     // sizes
    int64_t sc, sh, sw;  // strides

    bool is_dense_channels_last() const {
        return (sc == 1 || c == 1) && (sw == c || w == 1) && (sh == w * c || h == 1);
    }
};

// Padded rows [first_row, first_row + rows) of the sample as [row][padded_w][c]. The sample's own memory where that is
// what it already holds (and reading `slack` elements past it is allowed), else a copy in this thread's scratch.
// Staged: T, or S itself.
template <typename Staged, typename S, typename T>
const Staged* stage_input(const Kernels<T>& kernels, const ConvPool& p, const SampleView<const S>& sample,
                          int64_t first_row, int64_t rows, bool may_read_past, int64_t slack);

// The sample as [h][w][c], as above, without padding.
template <typename S, typename T>
const T* stage_grad_output(const Kernels<T>& kernels, const SampleView<const S>& sample);

// to[c][y][x] = from[(y + pad_h)][x + pad_w][c], where `from` has rows of from_w pixels.
template <typename S, typename T>
void unstage(const Kernels<T>& kernels, const T* from, int64_t from_w, int64_t pad_h, int64_t pad_w,
             const SampleView<S>& to);

}  // namespace mnist_fast::cpu
