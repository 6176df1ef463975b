// How a batch is cut into the items that blocks of threads take one after the other: some rows of windows of one image,
// or several whole images where these are small.
#pragma once

#include <cstdint>

#include "cuda/divisor.h"

namespace mnist_fast::cuda {

struct Items {
    int64_t batch;
    int images, rows;  // of one item; rows of windows
    int bands;         // that an image is cut into; 1 where an item holds several images
    int64_t count;

    MNIST_FAST_HOST_DEVICE int64_t first_image(int64_t item) const { return item / bands * images; }
    MNIST_FAST_HOST_DEVICE int first_row(int64_t item) const { return static_cast<int>(item % bands) * rows; }
};

}  // namespace mnist_fast::cuda
