// Who runs the work: the caller brings a thread pool (torch's own, or std::thread in the native tests), the kernels say
// what there is to do. Plain function pointers, so that no template of the standard library is compiled for a special
// instruction set.
#pragma once

#include <cstdint>

namespace mnist_fast {

struct Parallel {
    // Calls body(context, begin, end) for disjoint ranges that cover [0, count), from any threads, and returns when
    // all are done.
    void (*run)(int64_t count, void (*body)(void* context, int64_t begin, int64_t end), void* context);
};

// Calls body(i) for every i in [0, count).
template <typename Body>
void parallel_for(const Parallel& parallel, int64_t count, Body& body) {
    parallel.run(
        count,
        [](void* context, int64_t begin, int64_t end) {
            for (int64_t i = begin; i < end; ++i) (*static_cast<Body*>(context))(i);
        },
        &body);
}

}  // namespace mnist_fast
