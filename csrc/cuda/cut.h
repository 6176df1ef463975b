// How plans cut a batch into items that fit shared memory.
#pragma once

#include <cstdint>

#include "cuda/items.h"

namespace mnist_fast::cuda {

// Shared memory of a block: what every card from sm_80 on has, and less than half of what an H100 has.
constexpr int kSharedBudget = 99 * 1024;
constexpr int kReservedBytes = 1024;  // of shared memory, by the system for each block

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The largest items that fit, but enough for all blocks as long as each is worth a block. bytes(rows, images) is what
// an item takes. items.count is -1 where not even one row of windows fits.
template <typename Bytes>
Items cut(int64_t batch, int out_h, int out_w, int worth, int64_t blocks, Bytes bytes) {
    Items items{batch, 1, out_h, 1, -1};
    const auto rows = [&](int bands) { return static_cast<int>(ceil_div(out_h, bands)); };
    int bands = 1;
    while (bytes(rows(bands), 1) > kSharedBudget) {
        if (rows(bands) == 1) return items;
        ++bands;
    }
    while (batch * bands < blocks && rows(bands) > 1 && rows(bands + 1) * out_w >= worth) ++bands;
    items.rows = rows(bands);
    items.bands = static_cast<int>(ceil_div(out_h, items.rows));
    if (items.bands == 1)
        while (items.images * out_h * out_w < worth && (items.images + 1) * blocks <= batch &&
               bytes(out_h, items.images + 1) <= kSharedBudget)
            ++items.images;
    items.count = ceil_div(batch, items.images) * items.bands;
    return items;
}

}  // namespace mnist_fast::cuda
