// A pool of threads behind core/parallel.h that, like torch's, cuts a range into one part for each thread.
#pragma once

#include <cstdint>

#include "core/parallel.h"

namespace native_bench {

// Starts the pool; once, before its first use. The calling thread is one of `count`.
void start_threads(int64_t count);

extern const mnist_fast::Parallel kThreads;

}  // namespace native_bench
