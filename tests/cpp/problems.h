// Draws problems and the strides of their tensors. One generator with a fixed seed: every run sees the same ones.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <random>
#include <stdexcept>

#include "core/geometry.h"

namespace mnist_fast {

inline std::mt19937 random_bits(1);

inline int64_t draw(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random_bits);
}

inline int64_t one_of(std::initializer_list<int64_t> choices) {
    return choices.begin()[draw(0, static_cast<int64_t>(choices.size()) - 1)];
}

// Strides of a (N, C, H, W) tensor, and how many elements lie between its first and its last one, both included.
struct Layout {
    Strides strides;
    int64_t size;
    bool overlaps;  // some elements share their memory

    Layout(const Strides& s, int64_t n, int64_t c, int64_t h, int64_t w)
        : strides(s),
          size(n * c * h * w == 0 ? 0 : 1 + (n - 1) * s.n + (c - 1) * s.c + (h - 1) * s.h + (w - 1) * s.w),
          overlaps(size < n * c * h * w) {}
};

inline Strides contiguous(int64_t c, int64_t h, int64_t w) { return {c * h * w, h * w, w, 1}; }
inline Strides channels_last(int64_t c, int64_t h, int64_t w) { return {c * h * w, 1, w * c, c}; }

// The formats of torch, transposed, and slices of larger tensors.
inline Layout any_layout(int64_t n, int64_t c, int64_t h, int64_t w) {
    const int64_t gap = draw(1, 3);
    Strides s = contiguous(c, h, w);
    switch (draw(0, 11)) {
        case 0: s = {h * w * c, h * w, 1, h}; break;
        case 1: s = contiguous(c, h, w + gap); break;
        case 2: s = contiguous(c + gap, h + gap, w); break;
        case 3: s = channels_last(c + gap, h, w); break;
        case 4: s = channels_last(c, h, w + gap); break;
        case 5:
        case 6:
        case 7:
        case 8: s = channels_last(c, h, w); break;
    }
    return {s, n, c, h, w};
}

// As above, or expanded: elements of some dimensions are all the same one. For what is only read.
inline Layout any_view(int64_t n, int64_t c, int64_t h, int64_t w) {
    if (draw(0, 3) > 0) return any_layout(n, c, h, w);
    Strides s = draw(0, 2) ? channels_last(c, h, w) : contiguous(c, h, w);
    switch (draw(0, 9)) {
        case 0: s = {}; break;
        case 1: s.c = 0; break;
        case 2: s.h = 0; break;
        default: s.n = 0;
    }
    return {s, n, c, h, w};
}

// Any sizes that the kernels cover.
inline ConvPoolSizes arbitrary_sizes() {
    ConvPoolSizes s{draw(0, 5), draw(1, 20),    draw(1, 20), draw(1, 20), draw(1, 40), draw(1, 7), draw(1, 7),
                    draw(1, 2), draw(1, 2),     0,           0,           draw(1, 4),  draw(1, 4), draw(1, 4),
                    draw(1, 4), draw(0, 1) == 1};
    if (draw(0, 1)) s.pad_h = draw(0, s.kh - 1), s.pad_w = draw(0, s.kw - 1);
    return s;
}

// Layers as networks have them, for which there are special paths: square, stride 1, even channels, plain pooling.
inline ConvPoolSizes usual_sizes() {
    const int64_t k = one_of({3, 3, 5}), pool = one_of({1, 2, 2, 3});
    ConvPoolSizes s{};
    s.n = draw(1, 4);
    s.c = one_of({1, 1, 3, 6, 8, 16, 24, 32});
    s.o = one_of({6, 8, 16, 24, 32, 64});
    s.h = s.w = draw(5, 17);
    s.kh = s.kw = k;
    s.stride_h = s.stride_w = 1;
    s.pad_h = s.pad_w = draw(0, 1) * (k / 2);
    s.pool_h = s.pool_w = s.pool_stride_h = s.pool_stride_w = pool;
    s.relu = draw(0, 1) == 1;
    return s;
}

// One size far beyond the others: past the pieces, lists and strips that work is cut into.
inline ConvPoolSizes lopsided_sizes() {
    ConvPoolSizes s = draw(0, 1) ? arbitrary_sizes() : usual_sizes();
    switch (draw(0, 5)) {
        case 0: s.n = draw(15, 40); break;
        case 1: s.c = draw(21, 150); break;
        case 2: s.o = draw(60, 200); break;
        case 3: s.h = draw(20, 100); break;
        case 4: s.w = draw(20, 200); break;
        case 5: s.pool_h = draw(2, 15), s.pool_w = draw(2, 17);
    }
    return s;
}

// Where random sizes seldom get.
inline ConvPoolSizes rare_sizes() {
    const bool relu = draw(0, 1) == 1;
    switch (draw(0, 10)) {
        // Strips that have more rows in bfloat16 than in float, and fill their lists.
        case 0: return {8, 32, 3, 147, 26, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, relu};
        // A row with more windows than are listed together.
        case 1: return {1, one_of({6, 16, 32}), 5, 150, 6, 3, 3, 1, 1, 1, 1, 2, 2, 2, 2, relu};
        // One channel, in windows with gaps.
        case 2: return {2, 1, 9, 9, 40, 3, 3, 1, 1, 0, 0, 1, 1, 2, 2, relu};
        // Winograd's tiles: one more than are transformed together, or a few more.
        case 3: return {4, 20, 8, 26, 20, 3, 3, 1, 1, 1, 1, 2, 2, 2, 2, relu};
        // Winograd's tiles without pooling: the last ones of rows and columns are partly empty.
        case 6: return {2, 20, draw(7, 9), draw(7, 16), 20, 3, 3, 1, 1, draw(0, 1), draw(0, 1), 1, 1, 1, 1, relu};
        // Whole samples at once, for vectors over windows: the last row of windows, which is longer than a vector, is
        // in some of the planes only.
        case 7: return {16, 1, 9, draw(93, 98), draw(1, 5), 3, 3, 1, 1, 1, 1, 3, 3, 3, 3, relu};
        // Windows side by side, of rows that lie apart.
        case 8: return {2, one_of({16, 32}), 11, 7, 8, 3, 3, 2, 1, 1, 1, 2, 2, 2, 2, relu};
        // Windows side by side, whose rows overlap, lie apart, or leave rows over; several groups of filters.
        case 9:
        case 10: {
            const int64_t pool = draw(1, 2), o = one_of({3, 8, 66});
            return {1, 16,         draw(7, 16), draw(4, 8), o,    3,          3,    draw(1, 2),
                    1, draw(0, 1), draw(0, 1),  draw(1, 3), pool, draw(1, 5), pool, relu};
        }
        // Samples that end in the middle of a vector.
        case 4: return {3, 7, 9, 9, 8, 3, 3, 1, 1, 0, 0, 1, 1, 1, 1, relu};
        // Rows of three vectors, for vectors over windows, and more channels than a block of weights has.
        default: return {2, 1, 9, draw(33, 40), one_of({draw(1, 8), draw(33, 41)}), 3, 3, 1, 1, 1, 1, 3, 3, 3, 3, relu};
    }
}

// A problem of a size that the reference computes quickly.
inline ConvPool random_problem(int64_t most_products) {
    for (;;) {
        const int64_t kind = draw(0, 6);
        const ConvPoolSizes s = kind < 2   ? arbitrary_sizes()
                                : kind < 4 ? usual_sizes()
                                : kind < 6 ? lopsided_sizes()
                                           : rare_sizes();
        if (s.n * s.c * s.o * s.h * s.w * s.kh * s.kw > most_products) continue;
        try {
            return make_conv_pool(s);
        } catch (const std::invalid_argument&) {
        }
    }
}

}  // namespace mnist_fast
