// The kernels' scratch memory, allocated so that its misuse shows: it begins as NaN (a code or a list's entry read from
// it is wrong as well), and behind its last byte lies memory that nobody may touch.
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

constexpr size_t kGuardBytes = 1 << 16;  // more than one wrong vector, or row, leaps over

// The page in front of the one where a block begins holds the size of all that is reserved, and may only be read.
size_t* header(void* block) {
    return reinterpret_cast<size_t*>((reinterpret_cast<uintptr_t>(block) / page() - 1) * page());
}

}  // namespace

// Only the scratch memory asks for alignment.
void* operator new(size_t bytes, std::align_val_t alignment, const std::nothrow_t&) noexcept {
    const size_t size = round_up(bytes ? bytes : 1, static_cast<size_t>(alignment)), body = round_up(size, page());
    const size_t reserved = page() + body + kGuardBytes;
    void* const begin = mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (begin == MAP_FAILED) return nullptr;
    char* const guard = static_cast<char*>(begin) + page() + body;
    char* const block = guard - size;
    *header(block) = reserved;
    std::memset(block, 0xff, size);
    const bool guarded = mprotect(begin, page(), PROT_READ) == 0 && mprotect(guard, kGuardBytes, PROT_NONE) == 0;
    return guarded ? block : nullptr;
}

void operator delete(void* block, std::align_val_t) noexcept {
    if (block) munmap(header(block), *header(block));
}
