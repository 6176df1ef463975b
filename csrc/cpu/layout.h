// How the drivers and the kernels of one instruction set lay out their private buffers. Everything follows from the
// number of lanes of a vector.
#pragma once

#include "core/conv_pool.h"

namespace mnist_fast::cpu {

constexpr int64_t kForwardVectors = 2;  // output-channel vectors that forward keeps in registers at once

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

// Weights for forward: blocks of kForwardVectors vectors of output channels (the last may hold fewer), each block
// [kh][kw*c][channels of the block], channels beyond o zero. Block b begins at b * kForwardVectors * lanes * kh * run.
inline int64_t packed_forward_size(const ConvPool& p, int64_t lanes) { return round_up(p.o, lanes) * p.kh * p.run(); }

// A kernel row of one output channel as whole vectors: [o][kh][row_vectors * lanes], zero beyond kw*c. Weights for the
// input gradient and partial sums of the weight gradient ("by position") have this layout.
inline int64_t row_vectors(const ConvPool& p, int64_t lanes) { return ceil_div(p.run(), lanes); }
inline int64_t packed_rows_size(const ConvPool& p, int64_t lanes) { return p.o * p.kh * row_vectors(p, lanes) * lanes; }

// Where the weight gradient of (o, ky, q = kx*c + ch) stands in a buffer of partial sums.
struct GradWeightLayout {
    bool by_channel;  // vectors over output channels: for rows shorter than a vector (first layers)
    int64_t size;
    int64_t o, ky, q;
};

inline GradWeightLayout grad_weight_layout(const ConvPool& p, int64_t lanes) {
    if (p.run() < lanes) {
        const int64_t channels = round_up(p.o, lanes);
        return {true, p.kh * p.run() * channels, 1, p.run() * channels, channels};
    }
    const int64_t row = row_vectors(p, lanes) * lanes;
    return {false, packed_rows_size(p, lanes), p.kh * row, row, 1};
}

// Pooled rows that the weight gradient handles at once, so that the input they meet stays in the first-level cache.
inline int64_t strip_rows(const ConvPool& p, int64_t element_size) {
    constexpr int64_t kCacheBytes = 24 * 1024;
    const int64_t row_bytes = p.pool_stride_h * p.stride_h * p.padded_w() * p.c * element_size;
    const int64_t rows = kCacheBytes / row_bytes;
    return rows < 1 ? 1 : rows > p.out_h ? p.out_h : rows;
}

// The weight gradient lists the winners of a strip, for so many channels together, each with room for whole vectors.
constexpr int64_t kListedChannels = 64;
inline int64_t channel_list_capacity(const ConvPool& p, int64_t lanes, int64_t element_size) {
    return round_up(strip_rows(p, element_size) * p.out_w, lanes) + lanes;
}

// Room for the channels that won at one position of a window, as the input gradient lists them: whole vectors are
// written.
inline int64_t window_list_capacity(const ConvPool& p, int64_t lanes) { return round_up(p.o, lanes) + lanes; }

// The input gradient lists the windows of a row together, a list for each position of each window.
constexpr int64_t kListedPositions = 256;
inline int64_t listed_windows(const ConvPool& p) { return kListedPositions / p.pool_positions(); }

// Elements a kernel may read (never use) past the last one of a sample's input.
inline int64_t read_slack(int64_t lanes) { return lanes; }

}  // namespace mnist_fast::cpu
