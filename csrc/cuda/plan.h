// Which kernels a problem takes, and how its work is cut: planned on the host from sizes alone.
#pragma once

#include <cstdint>

#include "core/conv_pool.h"
#include "cuda/direct_planes.h"
#include "cuda/items.h"
#include "cuda/plane.h"

namespace mnist_fast::cuda {

constexpr int kMaxPool = 3;

// Windows over pixels of a plane, and the depth of the products at each of their positions.
struct Windows {
    int64_t batch;
    int element_bytes;
    int out_h, out_w, pool;
    int step_h, step_w, position_h, position_w;  // pixels from window to window, from position to position
    int taps_h, taps_w;                          // pixels that one position meets
    int tap_units;                               // 16-byte units of one pixel
    int units() const { return taps_h * taps_w * tap_units; }
};

struct ConvolutionPlan {
    bool fits;
    Plane plane;
    Items items;
    int steps, column_tiles, column_blocks, packed_bytes, shared_bytes;
    int64_t blocks;  // that share the items
};

struct WeightGradientPlan {
    bool fits;
    Plane input_plane, gradient_plane;
    Items items;
    int pixels, column_tiles, column_blocks, row_warps, row_blocks, depth_warps, shared_bytes;
    int64_t blocks;
    int64_t shares() const { return blocks * depth_warps; }
    int64_t rows() const;
    int64_t columns() const;
};

// Whether first layers' filters are spread over their pixels (Fill::kIm2col) before the products.
bool is_im2col(const ConvPool& p, int element_bytes);

Windows forward_windows(const ConvPool& p, int element_bytes);
Windows input_gradient_windows(const ConvPool& p, int element_bytes);

// multiprocessors: of the device; shared_bytes: of one of them.
ConvolutionPlan plan_convolution(const Windows& windows, int64_t columns, int multiprocessors, int shared_bytes);
WeightGradientPlan plan_weight_gradient(const ConvPool& p, int element_bytes, int multiprocessors);

// Small layers go to the direct kernels: few channels and weights, square filters of 3 or 5. A question of sizes alone,
// unless set_direct(false) sends every layer to the tensor cores: for comparisons, not while kernels run.
bool is_direct(const ConvPool& p);
void set_direct(bool on);

// A convolution by the direct kernels, with stride 1 and windows side by side.
struct DirectLayer {
    int64_t batch;
    int channels, outputs, out_h, out_w, kernel, pool;
};
DirectLayer direct_forward_layer(const ConvPool& p);
DirectLayer direct_input_gradient_layer(const ConvPool& p);

struct DirectPlan {
    bool fits;
    DirectPlanes planes;
    Items items;  // rows of strips
    int groups, shared_bytes;
    int64_t blocks;
};

struct DirectGradientPlan {
    bool fits;
    DirectPlanes planes;
    Items items;
    int groups, shares, threads, shared_bytes;
    int64_t rows, columns, blocks;  // rows x columns: partial sums of a block
};

DirectPlan plan_direct(const DirectLayer& layer, int multiprocessors, int shared_bytes);
DirectGradientPlan plan_direct_gradient(const ConvPool& p, int multiprocessors);

// What no CUDA kernel covers of a problem that CPU kernels do; null where one covers it.
const char* why_not_covered(const ConvPool& p, int element_bytes);

}  // namespace mnist_fast::cuda
