#include "cuda/plan.h"

#include <algorithm>

#include "cuda/cut.h"
#include "cuda/layout.h"

namespace mnist_fast::cuda {
namespace {

constexpr int kFewestColumnTiles = 2;
constexpr int kMaxGridY = 65535;
constexpr int kMostResidentBlocks = 4;  // of one multiprocessor: each more reads the weights once more
constexpr int kWorthOfGradient = 48;    // windows of an item, below which a block is not worth its partial sums
constexpr int kGradientBlocks = 1;      // of one multiprocessor

int channel_units(int64_t channels, int element_bytes) {
    return static_cast<int>(ceil_div(channels * element_bytes, kUnitBytes));
}

int64_t plane_bytes(int64_t rows, int64_t columns, int64_t units, int64_t residues) {
    return rows * residues * ceil_div(columns, residues) * (units | 1) * kUnitBytes;
}

Plane make_plane(int rows, int columns, int units, int residues) {
    Plane plane{};
    plane.rows = rows;
    plane.columns = columns;
    plane.units = units;
    plane.pitch = (units | 1) * kUnitBytes;
    plane.residues = residues;
    plane.places = static_cast<int>(ceil_div(columns, residues));
    plane.row_pitch = residues * plane.places * plane.pitch;
    plane.by_residues = Divisor(residues);
    plane.by_rows = Divisor(rows);
    plane.by_columns = Divisor(columns);
    plane.by_units = Divisor(units);
    return plane;
}

int band_rows(const Windows& w, int rows) { return (rows - 1) * w.step_h + (w.pool - 1) * w.position_h + w.taps_h; }
int band_columns(const Windows& w) { return (w.out_w - 1) * w.step_w + (w.pool - 1) * w.position_w + w.taps_w; }

// The smallest power of two that serves, up to `most`.
int column_tiles_for(int64_t columns, int most) {
    int tiles = kFewestColumnTiles;
    while (tiles < most && tiles * kTileColumns < columns) tiles *= 2;
    return tiles;
}

}  // namespace

bool is_im2col(const ConvPool& p, int element_bytes) { return 2 * p.c * element_bytes <= kUnitBytes; }

Windows forward_windows(const ConvPool& p, int element_bytes) {
    Windows w{};
    w.batch = p.n;
    w.element_bytes = element_bytes;
    w.out_h = static_cast<int>(p.out_h);
    w.out_w = static_cast<int>(p.out_w);
    w.pool = static_cast<int>(p.pool_h);
    const bool spread = is_im2col(p, element_bytes);
    w.position_h = spread ? 1 : static_cast<int>(p.stride_h);
    w.position_w = spread ? 1 : static_cast<int>(p.stride_w);
    w.step_h = static_cast<int>(p.pool_stride_h) * w.position_h;
    w.step_w = static_cast<int>(p.pool_stride_w) * w.position_w;
    w.taps_h = spread ? 1 : static_cast<int>(p.kh);
    w.taps_w = spread ? 1 : static_cast<int>(p.kw);
    w.tap_units = channel_units(spread ? p.kh * p.kw * p.c : p.c, element_bytes);
    return w;
}

// Every pixel of the input is a window of one position over the gradient of the convolution's output.
Windows input_gradient_windows(const ConvPool& p, int element_bytes) {
    Windows w{};
    w.batch = p.n;
    w.element_bytes = element_bytes;
    w.out_h = static_cast<int>(p.h);
    w.out_w = static_cast<int>(p.w);
    w.pool = w.step_h = w.step_w = w.position_h = w.position_w = 1;
    w.taps_h = static_cast<int>(p.kh);
    w.taps_w = static_cast<int>(p.kw);
    w.tap_units = channel_units(p.o, element_bytes);
    return w;
}

ConvolutionPlan plan_convolution(const Windows& w, int64_t columns, int multiprocessors, int shared_bytes) {
    ConvolutionPlan plan{};
    plan.steps = (w.units() + 1) / 2;
    // The accumulators of a window's positions share the registers, and half of the memory may go to the weights.
    plan.column_tiles = column_tiles_for(columns, w.pool == 3 ? 2 : w.pool == 2 && w.element_bytes == 2 ? 8 : 4);
    while (plan.column_tiles > kFewestColumnTiles && plan.steps * plan.column_tiles * kTileBytes > kSharedBudget / 2)
        plan.column_tiles /= 2;
    plan.packed_bytes = plan.steps * plan.column_tiles * kTileBytes;
    plan.column_blocks = static_cast<int>(ceil_div(columns, plan.column_tiles * kTileColumns));

    const ConvolutionMemory memory(plan.packed_bytes, plan.column_tiles * kTileColumns, w.pool, plan.steps);
    const auto bytes = [&](int rows, int images) {
        return memory.band + images * plane_bytes(band_rows(w, rows), band_columns(w), w.tap_units, w.step_w);
    };
    const int worth = kConvolutionWarps * (w.pool == 1 ? 32 : 8);
    plan.items = cut(w.batch, w.out_h, w.out_w, worth, 2 * multiprocessors, bytes);
    plan.fits = plan.items.count >= 0 && plan.column_blocks <= kMaxGridY;
    if (!plan.fits) return plan;
    plan.plane = make_plane(band_rows(w, plan.items.rows), band_columns(w), w.tap_units, w.step_w);
    plan.shared_bytes = static_cast<int>(bytes(plan.items.rows, plan.items.images));
    const int resident = std::clamp(shared_bytes / (plan.shared_bytes + kReservedBytes), 1, kMostResidentBlocks);
    plan.blocks = std::min(plan.items.count, ceil_div(int64_t{multiprocessors} * resident, plan.column_blocks));
    return plan;
}

int64_t WeightGradientPlan::rows() const { return int64_t{row_blocks} * row_warps * kRowTilesOfWarp * kTileRows; }
int64_t WeightGradientPlan::columns() const { return int64_t{column_blocks} * column_tiles * kTileColumns; }

WeightGradientPlan plan_weight_gradient(const ConvPool& p, int element_bytes, int multiprocessors) {
    WeightGradientPlan plan{};
    const Windows w = forward_windows(p, element_bytes);
    const int unit_elements = kUnitBytes / element_bytes, warp_units = kRowTilesOfWarp * kTileRows / unit_elements;
    plan.column_tiles = column_tiles_for(p.o, 8);
    plan.column_blocks = static_cast<int>(ceil_div(p.o, plan.column_tiles * kTileColumns));
    const int warps = static_cast<int>(ceil_div(w.units() + 1, warp_units));  // and the bias
    plan.row_blocks = static_cast<int>(ceil_div(warps, kMaxGradientWarps));
    plan.row_warps = static_cast<int>(ceil_div(warps, plan.row_blocks));
    plan.depth_warps = std::max(1, kMaxGradientWarps * 2 / 3 / plan.row_warps);

    const int depth = 2 * unit_elements;
    const int gradient_units = static_cast<int>(plan.columns() / unit_elements);
    const auto gradient_rows = [&](int rows) { return (rows - 1) * static_cast<int>(p.pool_stride_h) + w.pool; };
    const int columns = (w.out_w - 1) * static_cast<int>(p.pool_stride_w) + w.pool;
    const auto bytes = [&](int rows, int images) {
        const int64_t pixels = int64_t{images} * gradient_rows(rows) * columns;
        const int64_t input = images * plane_bytes(band_rows(w, rows), band_columns(w), w.tap_units, 1);
        const int64_t gradient = plane_bytes(1, ceil_div(pixels, depth) * depth, gradient_units, 1);
        if (input + gradient > kSharedBudget) return input + gradient;
        return int64_t{WeightGradientMemory(plan.row_warps * warp_units, static_cast<int>(pixels),
                                            static_cast<int>(input), static_cast<int>(gradient))
                           .end};
    };
    plan.items = cut(p.n, w.out_h, w.out_w, kWorthOfGradient, multiprocessors, bytes);
    plan.fits = plan.items.count >= 0 && plan.row_blocks <= kMaxGridY && plan.column_blocks <= kMaxGridY;
    if (!plan.fits) return plan;
    plan.pixels = plan.items.images * gradient_rows(plan.items.rows) * columns;
    plan.input_plane = make_plane(band_rows(w, plan.items.rows), band_columns(w), w.tap_units, 1);
    plan.gradient_plane = make_plane(gradient_rows(plan.items.rows), columns, gradient_units, 1);
    plan.shared_bytes = static_cast<int>(bytes(plan.items.rows, plan.items.images));
    const int64_t most = std::max<int64_t>(
        1, ceil_div(int64_t{multiprocessors} * kGradientBlocks, plan.row_blocks * plan.column_blocks));
    plan.blocks = std::min(plan.items.count, most);
    return plan;
}

const char* why_not_covered(const ConvPool& p, int element_bytes) {
    if (p.pool_h != p.pool_w || p.pool_h > kMaxPool) return "pooling windows other than 1x1, 2x2 and 3x3";
    if (p.pool_stride_h < p.pool_h || p.pool_stride_w < p.pool_w) return "overlapping pooling windows";
    if (!plan_convolution(forward_windows(p, element_bytes), p.o, 1, kSharedBudget).fits ||
        !plan_convolution(input_gradient_windows(p, element_bytes), p.c, 1, kSharedBudget).fits ||
        !plan_weight_gradient(p, element_bytes, 1).fits)
        return "weights or rows of this size";
    return nullptr;
}

}  // namespace mnist_fast::cuda
