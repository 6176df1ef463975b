// A band of pixels in shared memory: what products read their first factor from, and how it gets there.
//
// A pixel is `units` times 16 bytes of channels, with padding up to an odd number of units, so that eight neighbours
// lie in different banks. Columns lie in the order of column % residues, then column / residues: the windows that a
// warp reads together, `residues` columns apart, are neighbours. What has no source (padding, channels beyond the last)
// is 0.
#pragma once

#include "cuda/divisor.h"

namespace mnist_fast::cuda {

struct Plane {
    int rows, columns, units;  // of one image's band
    int pitch, row_pitch;      // bytes from one pixel's place to the next, from row to row
    int residues;
    int places;  // per residue
    Divisor by_residues, by_rows, by_columns, by_units;

    MNIST_FAST_HOST_DEVICE int place(int column) const {
        const int quotient = by_residues.split(column);
        return column * places + quotient;
    }
    MNIST_FAST_HOST_DEVICE int offset(int row, int column) const { return row * row_pitch + place(column) * pitch; }
};

}  // namespace mnist_fast::cuda
