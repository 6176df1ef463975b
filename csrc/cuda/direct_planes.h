// A band of pixels in shared memory as the direct kernels read it: a plane of floats for each channel of each image.
// What has no source (padding, what lies behind the last row or image) is 0.
#pragma once

#include "cuda/divisor.h"

namespace mnist_fast::cuda {

struct DirectPlanes {
    int channels, rows, columns;  // of one image's band
    int pitch;                    // floats from row to row
    Divisor by_channels, by_rows, by_columns;

    MNIST_FAST_HOST_DEVICE int offset(int image, int channel, int row) const {
        return ((image * channels + channel) * rows + row) * pitch;
    }
};

}  // namespace mnist_fast::cuda
