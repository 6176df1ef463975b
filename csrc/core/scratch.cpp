#include "core/scratch.h"

#include <cstddef>
#include <new>
#include <string>

namespace mnist_fast {
namespace {

constexpr std::align_val_t kAlignment{64};

// Says what torch's allocator says.
class OutOfMemory : public std::bad_alloc {
  public:
    explicit OutOfMemory(int64_t bytes)
        : message_("CPU kernels: can't allocate memory: you tried to allocate " + std::to_string(bytes) + " bytes.") {}
    const char* what() const noexcept override { return message_.c_str(); }

  private:
    std::string message_;
};

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
        block.data = nullptr;  // stays valid should the allocation fail
        block.bytes = 0;
        block.data = ::operator new(static_cast<size_t>(bytes), kAlignment, std::nothrow);
        if (!block.data) throw OutOfMemory(bytes);
        block.bytes = bytes;
    }
    return block.data;
}

}  // namespace mnist_fast
