// Each thread's private memory for one sample's working set, kept between calls: allocating it anew would cost more
// than some kernels. Contents are undefined.
#pragma once

#include <cstdint>

namespace mnist_fast {

enum class Slot {
    kInput,
    kOutput,
    kGradOutput,
    kGradInput,
    kCode,
    kListIndex,
    kListGrad,
    kWeight,
    kFilter,
    kBias,
    kArranged,
    kPlanes,
    kPartial,
    kMatrices,
    kCount
};

// At least `bytes` bytes, aligned to 64; valid until this thread asks for the same slot again. Throws std::bad_alloc.
void* scratch_bytes(Slot slot, int64_t bytes);

template <typename T>
T* scratch(Slot slot, int64_t count) {
    return static_cast<T*>(scratch_bytes(slot, count * static_cast<int64_t>(sizeof(T))));
}

}  // namespace mnist_fast
