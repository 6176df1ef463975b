// Measures calls against one another: in rounds, each of which runs every call, so that a change of clock frequency or
// of load meets all of them alike.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace native_bench {

struct Timings {
    double median, p5, p95;  // seconds of one call, over the rounds
};

// A sample repeats its call for at least `sample_seconds`. Timings are in the order of the calls.
std::vector<Timings> time_interleaved(const std::vector<std::function<void()>>& calls, int64_t rounds,
                                      double sample_seconds);

}  // namespace native_bench
