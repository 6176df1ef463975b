// Weights in the order in which the convolution kernel reads them: tiles of 256 bytes, [columns of a
// block][step][tile], once for all blocks.
#pragma once

#include "core/conv_pool.h"
#include "cuda/arithmetic.cuh"

namespace mnist_fast::cuda {

// For the input gradient the weight's strides are given with n and c exchanged, and taps run backwards.
template <typename T>
struct PackArgs {
    const T* weight;
    Strides strides;
    int columns, channels, kh, kw;  // what each product gives, and what its depth runs over
    bool flip;
    int tap_depth;         // depth from one tap to the next: channels, padded to whole units but for im2col
    int column_tiles = 0;  // of one block
    int steps = 0;
    int64_t count = 0;  // elements to write
    T* packed = nullptr;
};

template <typename Arithmetic>
__global__ void pack(const PackArgs<typename Arithmetic::Element> a) {
    using T = typename Arithmetic::Element;
    constexpr int kTileElements = kTileBytes / static_cast<int>(sizeof(T));
    const int64_t index = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (index >= a.count) return;
    const int64_t tile = index / kTileElements;
    const Position at = Arithmetic::position(static_cast<int>(index % kTileElements));

    const int depth = static_cast<int>(tile / a.column_tiles % a.steps) * Arithmetic::kDepth + at.depth;
    const int tap = depth / a.tap_depth, channel = depth % a.tap_depth;
    const int64_t block = tile / a.column_tiles / a.steps;
    // Lane t of the convolution holds columns 2t and 2t + 1 of every tile: they shall be neighbours in the output.
    const int column = static_cast<int>(block) * a.column_tiles * kTileColumns + at.column / 2 * 2 * a.column_tiles +
                       static_cast<int>(tile % a.column_tiles) * 2 + at.column % 2;
    if (tap >= a.kh * a.kw || channel >= a.channels || column >= a.columns) {
        a.packed[index] = from_float<T>(0);
        return;
    }
    const int ky = tap / a.kw, kx = tap % a.kw;
    a.packed[index] = Arithmetic::packed(
        a.weight[column * a.strides.n + channel * a.strides.c + (a.flip ? a.kh - 1 - ky : ky) * a.strides.h +
                 (a.flip ? a.kw - 1 - kx : kx) * a.strides.w]);
}

}  // namespace mnist_fast::cuda
