// Sizes and places that the host, which reserves shared memory, and the kernels, which use it, have to agree upon.
#pragma once

#include "cuda/divisor.h"

namespace mnist_fast::cuda {

constexpr int kUnitBytes = 16;                   // what is copied, and addressed by ldmatrix, at once
constexpr int kTileRows = 16, kTileColumns = 8;  // of one product
constexpr int kTileBytes = 256;                  // packed weights: one step of 8 columns
constexpr int kConvolutionWarps = 4;
constexpr int kRowTilesOfWarp = 2, kMaxGradientWarps = 12;

// Of the direct kernels. A thread takes so many output channels, and a strip of windows, one below the other, that have
// 8 or 9 positions; 7 without pooling, of which 26 and 28 rows, those of 3x3 layers on MNIST, leave little over.
constexpr int kDirectThreads = 128, kDirectGradientThreads = 256;  // the latter at most
constexpr int kDirectRun = 4;
constexpr int direct_strip(int pool) { return pool == 1 ? 7 : pool == 2 ? 2 : 1; }
constexpr int direct_gradient_run(int kernel) { return kernel == 3 ? 4 : 2; }  // 36 or 50 weights in registers
constexpr int kMostDirectBlocks = 4, kMostDirectGradientBlocks = 2;            // of one multiprocessor

// Floats of the weights and, in the last row, the bias. `depth`: taps times channels.
MNIST_FAST_HOST_DEVICE constexpr int direct_weights(int depth, int groups) { return (depth + 1) * groups * kDirectRun; }

// Places in a block's shared memory, in bytes.
struct ConvolutionMemory {
    int bias, zero_unit, offsets, band;  // packed weights come first

    // Each of the window's columns has its own offsets, because of the order of columns in the plane.
    MNIST_FAST_HOST_DEVICE ConvolutionMemory(int packed_bytes, int columns, int pool, int steps) {
        constexpr int kWord = 4;
        bias = packed_bytes;
        zero_unit = bias + columns * kWord;
        offsets = zero_unit + kUnitBytes;
        band = (offsets + pool * 2 * steps * kWord + kUnitBytes - 1) / kUnitBytes * kUnitBytes;
    }
};

struct WeightGradientMemory {
    int zero_unit, one_unit, unit_offsets, pixel_offsets, input, gradient, end;

    MNIST_FAST_HOST_DEVICE WeightGradientMemory(int units, int pixels, int input_bytes, int gradient_bytes) {
        constexpr int kWord = 4;
        zero_unit = 0;
        one_unit = kUnitBytes;
        unit_offsets = 2 * kUnitBytes;
        pixel_offsets = unit_offsets + units * kWord;
        input = (pixel_offsets + pixels * kWord + kUnitBytes - 1) / kUnitBytes * kUnitBytes;
        gradient = input + input_bytes;
        end = gradient + gradient_bytes;
    }
};

}  // namespace mnist_fast::cuda
