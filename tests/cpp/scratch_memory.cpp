// The kernels' scratch memory, allocated so that its misuse shows: it begins as NaN (a code or a list's entry read from
// it is wrong as well), and behind its last byte stands a page that nobody may touch.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>

namespace {

size_t page() {
    static const size_t size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    return size;
}

size_t round_up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

// The page in front of the one where a block begins holds the block's size.
size_t* header(void* block) {
    return reinterpret_cast<size_t*>((reinterpret_cast<uintptr_t>(block) / page() - 1) * page());
}

}  // namespace

// Only the scratch memory asks for alignment.
void* operator new(size_t bytes, std::align_val_t alignment, const std::nothrow_t&) noexcept {
    const size_t size = round_up(bytes ? bytes : 1, static_cast<size_t>(alignment)), body = round_up(size, page());
    void* const reserved = mmap(nullptr, body + 2 * page(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (reserved == MAP_FAILED) return nullptr;
    char* const guard = static_cast<char*>(reserved) + page() + body;
    if (mprotect(guard, page(), PROT_NONE) != 0) return nullptr;
    char* const block = guard - size;
    *header(block) = body + 2 * page();
    std::memset(block, 0xff, size);
    return block;
}

void operator delete(void* block, std::align_val_t) noexcept {
    if (block) munmap(header(block), *header(block));
}
