// Images of bytes as a batch of numbers, in one pass; in torch four operators, each of which goes through memory.
#pragma once

#include <cstdint>

#include "core/parallel.h"

namespace mnist_fast {

// to[i] = scale * from[index[i]] + offset for each of `images` images of `pixels` bytes; without index, of from[i].
struct PixelsArgs {
    int64_t images, pixels;
    const uint8_t* from;
    const int64_t* index;
    float scale, offset;
    float* to;
};

void normalize(const PixelsArgs& args, const Parallel& parallel);

}  // namespace mnist_fast
