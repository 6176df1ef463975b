// Memory that ends where the tensor ends: on the heap, where the address sanitizer watches both ends, or against pages
// that nobody may touch, where the machine itself does.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <new>
#include <vector>

namespace mnist_fast {

enum class Placement { kHeap, kStartsAtGuard, kEndsAtGuard };

template <typename T>
class Buffer {
  public:
    Buffer(const std::vector<T>& values, Placement placement) : size_(values.size()), placement_(placement) {
        const size_t bytes = size_ * sizeof(T), page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
        if (placement == Placement::kHeap) {
            data_ = new T[size_];
        } else {
            body_bytes_ = (bytes + page - 1) / page * page;
            reserved_bytes_ = body_bytes_ + 2 * page;
            reserved_ = static_cast<char*>(
                mmap(nullptr, reserved_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
            if (reserved_ == MAP_FAILED) throw std::bad_alloc();
            body_ = reserved_ + page;
            protect(PROT_READ | PROT_WRITE);
            data_ = reinterpret_cast<T*>(placement == Placement::kStartsAtGuard ? body_ : body_ + body_bytes_ - bytes);
        }
        std::copy(values.begin(), values.end(), data_);
    }
    ~Buffer() {
        if (placement_ == Placement::kHeap)
            delete[] data_;
        else
            munmap(reserved_, reserved_bytes_);
    }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    // From now on a write stops the program as well (except on the heap).
    void freeze() {
        if (placement_ != Placement::kHeap) protect(PROT_READ);
    }

    T* data() { return data_; }
    std::vector<T> values() const { return {data_, data_ + size_}; }

  private:
    void protect(int access) {
        if (body_bytes_ && mprotect(body_, body_bytes_, access) != 0) throw std::bad_alloc();
    }

    size_t size_;
    Placement placement_;
    T* data_ = nullptr;
    char *reserved_ = nullptr, *body_ = nullptr;
    size_t reserved_bytes_ = 0, body_bytes_ = 0;
};

}  // namespace mnist_fast
