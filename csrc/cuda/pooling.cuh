// What becomes of the sums of a pooling window: maximum, code and ReLU; and how neighbouring channels are stored.
#pragma once

#include "core/conv_pool.h"
#include "cuda/elements.cuh"

namespace mnist_fast::cuda {

struct Pooled {
    float value;
    int code;
};

// sum_at(position), positions in row-major order.
template <int kPositions, typename SumAt>
__device__ __forceinline__ Pooled pooled(bool relu, const SumAt& sum_at) {
    float best = 0;
    int code = 0;
#pragma unroll
    for (int position = 0; position < kPositions; ++position) {
        const float value = sum_at(position);
        // The first of equal values; a NaN beats numbers, and the last of several stays.
        if (position == 0 || value > best || value != value) {
            best = value;
            code = position;
        }
    }
    if (relu && best <= 0) {
        best = 0;
        code = kDead;
    }
    return {best, code};
}

// The first `count` elements of a run; whole: all, which lie side by side and are aligned for vector stores.
template <typename T, int kCount>
__device__ __forceinline__ void store_run(const Run<T, kCount>& run, T* to, int64_t stride, int count, bool whole) {
    if (whole) {
        run.store(to);
        return;
    }
#pragma unroll
    for (int i = 0; i < kCount; ++i)
        if (i < count) to[i * stride] = run.get(i);
}

}  // namespace mnist_fast::cuda
