#include "core/scratch.h"

#include <cstddef>
#include <new>

namespace mnist_fast {
namespace {

constexpr std::align_val_t kAlignment{64};

struct Block {
    void* data = nullptr;
    int64_t bytes = 0;
    ~Block() { ::operator delete(data, kAlignment); }
};

thread_local Block blocks[static_cast<int>(Slot::kCount)];

}  // namespace

void* scratch_bytes(Slot slot, int64_t bytes) {
    Block& block = blocks[static_cast<int>(slot)];
    if (block.bytes < bytes) {
        ::operator delete(block.data, kAlignment);
        block.data = nullptr;  // stays valid should the next line throw
        block.bytes = 0;
        block.data = ::operator new(static_cast<size_t>(bytes), kAlignment);
        block.bytes = bytes;
    }
    return block.data;
}

}  // namespace mnist_fast
