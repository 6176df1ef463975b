// Plans of the direct kernels, and which layers take them.
#include <algorithm>
#include <atomic>

#include "cuda/cut.h"
#include "cuda/layout.h"
#include "cuda/plan.h"

namespace mnist_fast::cuda {
namespace {

std::atomic<bool> direct_on{true};

// Tensor cores multiply units of 8 channels (of 16 bits), which fewer leave partly empty; and unfolding filters over
// the pixels (Fill::kIm2col) takes some twenty instructions for a value that then meets few output channels. Direct
// kernels take a multiply-add for each weight at each position of the convolution, of which a multiprocessor does 128
// at a time: with so many weights, 10 KiB of floats in the shared memory of every block, a position keeps it busy for
// 20 clocks. lenet's second layer has 2400.
constexpr int64_t kMostDirectChannels = 7;
constexpr int64_t kMostDirectWeights = 2560;

constexpr int kWindowsOfShare = 4;  // of an item, below which a block is not worth its partial sums

// From row to row: an odd number of floats, and for the sake of windows whose positions are read at a time not one more
// or less than all 32 banks.
int direct_pitch(int64_t columns) {
    auto pitch = static_cast<int>(columns | 1);
    while (pitch % 32 == 1 || pitch % 32 == 31) pitch += 2;
    return pitch;
}

DirectPlanes make_planes(int channels, int rows, int64_t columns) {
    DirectPlanes planes{};
    planes.channels = channels;
    planes.rows = rows;
    planes.columns = static_cast<int>(columns);
    planes.pitch = direct_pitch(columns);
    planes.by_channels = Divisor(channels);
    planes.by_rows = Divisor(rows);
    planes.by_columns = Divisor(planes.columns);
    return planes;
}

int64_t planes_bytes(int channels, int rows, int64_t columns) {
    return int64_t{channels} * rows * direct_pitch(columns) * static_cast<int64_t>(sizeof(float));
}

bool suits_direct(const ConvPool& p) {
    return p.kh == p.kw && (p.kh == 3 || p.kh == 5) && p.stride_h == 1 && p.stride_w == 1 && p.pool_h == p.pool_w &&
           p.pool_h <= kMaxPool && p.pool_stride_h == p.pool_h && p.pool_stride_w == p.pool_w &&
           p.c <= kMostDirectChannels && p.o * p.c * p.kh * p.kw <= kMostDirectWeights;
}

}  // namespace

void set_direct(bool on) { direct_on = on; }

bool is_direct(const ConvPool& p) {
    return direct_on && suits_direct(p) && plan_direct(direct_forward_layer(p), 1, kSharedBudget).fits &&
           plan_direct(direct_input_gradient_layer(p), 1, kSharedBudget).fits && plan_direct_gradient(p, 1).fits;
}

DirectLayer direct_forward_layer(const ConvPool& p) {
    return {p.n,
            static_cast<int>(p.c),
            static_cast<int>(p.o),
            static_cast<int>(p.out_h),
            static_cast<int>(p.out_w),
            static_cast<int>(p.kh),
            static_cast<int>(p.pool_h)};
}

DirectLayer direct_input_gradient_layer(const ConvPool& p) {
    return {p.n,
            static_cast<int>(p.o),
            static_cast<int>(p.c),
            static_cast<int>(p.h),
            static_cast<int>(p.w),
            static_cast<int>(p.kh),
            1};
}

DirectPlan plan_direct(const DirectLayer& layer, int multiprocessors, int shared_bytes) {
    DirectPlan plan{};
    const int strip = direct_strip(layer.pool);
    const auto strips_of_image = static_cast<int>(ceil_div(layer.out_h, strip));
    plan.groups = static_cast<int>(ceil_div(layer.outputs, kDirectRun));
    const int depth = layer.channels * layer.kernel * layer.kernel;
    const int64_t weights = direct_weights(depth, plan.groups) * static_cast<int64_t>(sizeof(float));
    const int64_t columns = int64_t{layer.out_w} * layer.pool + layer.kernel - 1;
    const auto rows = [&](int strips) { return strips * strip * layer.pool + layer.kernel - 1; };
    const auto bytes = [&](int strips, int images) {
        return weights + images * planes_bytes(layer.channels, rows(strips), columns);
    };
    const int worth = static_cast<int>(ceil_div(kDirectThreads, plan.groups));
    plan.items =
        cut(layer.batch, strips_of_image, layer.out_w, worth, int64_t{multiprocessors} * kMostDirectBlocks, bytes);
    plan.fits = plan.items.count >= 0;
    if (!plan.fits) return plan;
    plan.planes = make_planes(layer.channels, rows(plan.items.rows), columns);
    plan.shared_bytes = static_cast<int>(bytes(plan.items.rows, plan.items.images));
    const int resident = std::clamp(shared_bytes / (plan.shared_bytes + kReservedBytes), 1, kMostDirectBlocks);
    plan.blocks = std::min(plan.items.count, int64_t{multiprocessors} * resident);
    return plan;
}

DirectGradientPlan plan_direct_gradient(const ConvPool& p, int multiprocessors) {
    DirectGradientPlan plan{};
    const auto kernel = static_cast<int>(p.kh), pool = static_cast<int>(p.pool_h), channels = static_cast<int>(p.c);
    const int run = direct_gradient_run(kernel);
    plan.groups = static_cast<int>(ceil_div(p.o, run));
    const int owners = plan.groups * channels;
    if (owners > kDirectGradientThreads) return plan;
    plan.shares = kDirectGradientThreads / owners;
    plan.threads = static_cast<int>(ceil_div(plan.shares * owners, 32)) * 32;
    plan.rows = p.c * p.kh * p.kw + 1;
    plan.columns = int64_t{plan.groups} * run;

    const int64_t columns = p.out_w * pool + kernel - 1;
    const auto rows = [&](int windows) { return windows * pool + kernel - 1; };
    const int64_t sums = plan.shares * plan.rows * plan.columns * static_cast<int64_t>(sizeof(float));
    const auto bytes = [&](int windows, int images) {
        return std::max(sums, images * planes_bytes(channels, rows(windows), columns));
    };
    plan.items = cut(p.n, static_cast<int>(p.out_h), static_cast<int>(p.out_w), kWindowsOfShare * plan.shares,
                     int64_t{multiprocessors} * kMostDirectGradientBlocks, bytes);
    plan.fits = plan.items.count >= 0;
    if (!plan.fits) return plan;
    plan.planes = make_planes(channels, rows(plan.items.rows), columns);
    plan.shared_bytes = static_cast<int>(bytes(plan.items.rows, plan.items.images));
    plan.blocks = std::min(plan.items.count, int64_t{multiprocessors} * kMostDirectGradientBlocks);
    return plan;
}

}  // namespace mnist_fast::cuda
