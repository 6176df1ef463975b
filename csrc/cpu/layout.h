// How the drivers and the kernels of one instruction set lay out their private buffers. Everything follows from the
// number of lanes of a vector.
//
// Everything has internal linkage: of an inline function that files for different instruction sets compile, the linker
// keeps any one copy, and that may be the one for AVX-512.
#pragma once

#include "core/conv_pool.h"

namespace mnist_fast::cpu {
namespace {

constexpr int64_t kForwardVectors = 2;  // output-channel vectors that forward keeps in registers at once

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }
// The largest of almost equal pieces of `whole`, where no piece may exceed `limit`.
constexpr int64_t even_piece(int64_t whole, int64_t limit) { return ceil_div(whole, ceil_div(whole, limit)); }

// Weights for forward: blocks of kForwardVectors vectors of output channels (the last may hold fewer), each block
// [kh][kw*c][channels of the block], channels beyond o zero. Block b begins at b * kForwardVectors * lanes * kh * run.
inline int64_t packed_forward_size(const ConvPool& p, int64_t lanes) { return round_up(p.o, lanes) * p.kh * p.run(); }

// Winograd's F(2x2, 3x3) and F(2x4, 3x3): so many products give a tile of 2 x `tile_columns` outputs of the
// convolution, or the pooling windows of 2x2 in it.
constexpr int64_t kTileRows = 2;
constexpr int64_t winograd_points(int64_t tile_columns) { return (kTileRows + 2) * (tile_columns + 2); }
struct WinogradTiles {
    int64_t rows, columns;  // of outputs of the convolution, under so many rows of windows
    int64_t across, count;  // tiles in a row, and in all

    WinogradTiles(const ConvPool& p, int64_t window_rows, int64_t tile_columns)
        : rows(window_rows * p.pool_h),
          columns(p.out_w * p.pool_w),
          across(ceil_div(columns, tile_columns)),
          count(ceil_div(rows, kTileRows) * across) {}
};
// Channels enough to pay for the transforms, and tiles that are not mostly empty.
constexpr int64_t kWinogradChannels = 8;
inline bool suits_winograd(const ConvPool& p, int64_t tile_columns) {
    const WinogradTiles tiles(p, p.out_h, tile_columns);
    return p.kh == 3 && p.kw == 3 && p.stride_h == 1 && p.stride_w == 1 && p.pool_h == p.pool_w && p.pool_h <= 2 &&
           p.pool_stride_h == p.pool_h && p.pool_stride_w == p.pool_w && p.c >= kWinogradChannels &&
           winograd_points(tile_columns) * tiles.count < 9 * tiles.rows * tiles.columns;
}
inline int64_t winograd_filter_size(const ConvPool& p, int64_t lanes, int64_t tile_columns) {
    return round_up(p.o, lanes) * winograd_points(tile_columns) * p.c;
}
inline int64_t winograd_input_size(const ConvPool& p, int64_t lanes, int64_t tile_columns, int64_t tiles) {
    return winograd_points(tile_columns) * tiles * round_up(p.c, lanes);
}

// First layers whose vectors run over windows (planar.inc), where vectors of output channels would not be full.
constexpr int64_t kPlanarLanes = 8;
inline bool suits_planar(const ConvPool& p, int64_t lanes) {
    return lanes >= kPlanarLanes && p.c == 1 && p.o % lanes != 0 && (p.kw == 3 || p.kw == 5) && p.stride_h == 1 &&
           p.stride_w == 1 && p.pool_h == p.pool_w && p.pool_h <= 3 && p.pool_stride_w == p.pool_w;
}
// A plane has a row of windows for each of the input's rows that windows are apart, and a vector behind it.
inline int64_t plane_size(const ConvPool& p, int64_t lanes) {
    return round_up(ceil_div(p.padded_h(), p.pool_stride_h) * p.out_w, lanes) + lanes;
}
inline int64_t planar_size(const ConvPool& p, int64_t lanes) {
    return p.pool_stride_h * (p.pool_w - 1 + p.kw) * plane_size(p, lanes);
}

// A kernel row of one output channel as whole vectors, zero beyond kw*c. Partial sums of the weight gradient ("by
// position") are [o][kh][row_vectors * lanes].
inline int64_t row_vectors(const ConvPool& p, int64_t lanes) { return ceil_div(p.run(), lanes); }
inline int64_t packed_rows_size(const ConvPool& p, int64_t lanes) { return p.o * p.kh * row_vectors(p, lanes) * lanes; }

// The input gradient takes so many filters together: those that won at a position of a window are bits of a word.
constexpr int64_t kFilterGroup = 64;

// Where fields are three pixels wide, and windows side by side, a vector holds channels of a single pixel, so that the
// fields of neighbouring positions and windows can share registers.
constexpr int64_t kJointTaps = 3, kMaxJoint = 2;
inline bool joins_fields(const ConvPool& p, int64_t lanes) {
    return p.kh == kJointTaps && p.kw == kJointTaps && p.stride_w == 1 && p.pool_w <= kMaxJoint &&
           p.pool_stride_w == p.pool_w && p.c % lanes == 0;
}

// Such fields are packed as vectors of channels x taps, others as they are: which of a kernel row's elements, tap * c +
// channel, stands at i.
inline int64_t field_element(const ConvPool& p, int64_t lanes, int64_t i) {
    if (!joins_fields(p, lanes)) return i;
    const int64_t vector = i / lanes;
    return vector % p.kw * p.c + vector / p.kw * lanes + i % lanes;
}

// The input gradient takes kernel rows x vectors of a row in blocks, each [filter of a group][rows][vectors * lanes]:
// narrow enough for the registers to hold the sums of one receptive field, and for the first-level cache to hold the
// block while all windows of a row pass over it. Many rows of few vectors rather than the reverse: fewer passes over
// the windows.
struct RowBlock {
    int64_t row, rows;        // kernel rows
    int64_t vector, vectors;  // of a kernel row
    int64_t begin;            // in the group's packed weights
};

constexpr int64_t kMaxRowVectors = 8;

template <typename Use>
void for_each_row_block(const ConvPool& p, int64_t filters, int64_t lanes, int64_t accumulators, int64_t element_size,
                        const Use& use) {
    constexpr int64_t kCacheBytes = 40 * 1024;
    const int64_t affordable = kCacheBytes / (filters * lanes * element_size);
    const int64_t most = affordable < 1 ? 1 : affordable < accumulators ? affordable : accumulators;
    const bool joint = joins_fields(p, lanes);
    const int64_t rows = joint ? p.kh : even_piece(p.kh, most), all_vectors = row_vectors(p, lanes);
    const int64_t widest = most / rows < kMaxRowVectors ? most / rows : kMaxRowVectors;
    const int64_t vectors = joint ? p.kw : even_piece(all_vectors, widest);
    RowBlock block{};
    for (block.row = 0; block.row < p.kh; block.row += rows)
        for (block.vector = 0; block.vector < all_vectors; block.vector += vectors) {
            block.rows = p.kh - block.row < rows ? p.kh - block.row : rows;
            block.vectors = all_vectors - block.vector < vectors ? all_vectors - block.vector : vectors;
            use(block);
            block.begin += filters * block.rows * block.vectors * lanes;
        }
}

// bfloat16 is taken in groups of 32 elements of a row, which come out of pairwise dot products in another order.
constexpr int64_t kPairElements = 32;
inline int64_t pair_place(int64_t element) {
    const int64_t group = element / kPairElements, lane = element % kPairElements / 8, i = element % 8;
    return group * kPairElements + i / 4 * 16 + lane * 4 + i % 4;
}
// Rows so short that most of a group would be empty are widened to float instead.
inline bool suits_pairs(const ConvPool& p) { return p.run() >= kPairElements; }

// First layers, whose kernel rows are shorter than a vector: the products of all positions of a window, while these are
// few, cost less by vectors of output channels than the winner's alone by kernel rows.
inline bool suits_channels(const ConvPool& p, int64_t lanes) {
    constexpr int64_t kProducts = 100;  // of a channel at one window, where vectors of channels are full
    return p.run() < lanes && p.pool_positions() * p.kh * p.run() * round_up(p.o, lanes) <= kProducts * p.o;
}

// Where the weight gradient of (o, ky, q = kx*c + ch) stands in a buffer of partial sums, and what the vectors run
// over: a filter's row, or output channels.
struct GradWeightLayout {
    enum { kByPosition, kByChannel, kPairs } way;
    int64_t size;
    int64_t o, ky, q;

    int64_t at(int64_t o_, int64_t ky_, int64_t q_) const {
        return o_ * o + ky_ * ky + (way == kPairs ? pair_place(q_) : q_) * q;
    }
};

inline GradWeightLayout grad_weight_layout(const ConvPool& p, int64_t lanes, bool pairs = false) {
    if (pairs) {
        const int64_t row = row_vectors(p, kPairElements) * kPairElements;
        return {GradWeightLayout::kPairs, packed_rows_size(p, kPairElements), p.kh * row, row, 1};
    }
    if (suits_channels(p, lanes)) {
        const int64_t channels = round_up(p.o, lanes);
        return {GradWeightLayout::kByChannel, p.kh * p.run() * channels, 1, p.run() * channels, channels};
    }
    const int64_t row = row_vectors(p, lanes) * lanes;
    return {GradWeightLayout::kByPosition, packed_rows_size(p, lanes), p.kh * row, row, 1};
}

// Pooled rows that the weight gradient handles at once, so that the input they meet stays in the first-level cache.
inline int64_t strip_rows(const ConvPool& p, int64_t element_size) {
    constexpr int64_t kCacheBytes = 28 * 1024;
    const int64_t row_bytes = p.pool_stride_h * p.stride_h * p.padded_w() * p.c * element_size;
    const int64_t rows = kCacheBytes / row_bytes;
    return rows < 1 ? 1 : rows > p.out_h ? p.out_h : rows;
}

// The weight gradient lists the winners of a strip, for so many channels together, each with room for whole vectors.
constexpr int64_t kListedChannels = 64;
inline int64_t channel_list_capacity(const ConvPool& p, int64_t lanes, int64_t element_size) {
    return round_up(strip_rows(p, element_size) * p.out_w, lanes) + lanes;
}

// Elements a kernel may read (never use) past the last one of a sample's input.
inline int64_t read_slack(int64_t lanes) { return lanes; }

}  // namespace
}  // namespace mnist_fast::cpu
