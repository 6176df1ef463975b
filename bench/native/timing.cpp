#include "timing.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace native_bench {
namespace {

double seconds_of(const std::function<void()>& call, int64_t repeats) {
    const auto begin = std::chrono::steady_clock::now();
    for (int64_t i = 0; i < repeats; ++i) call();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

int64_t repeats_for(const std::function<void()>& call, double sample_seconds) {
    call();  // the first call allocates scratch memory
    const double seconds = std::max(seconds_of(call, 1), 1e-9);
    return std::max<int64_t>(1, static_cast<int64_t>(std::ceil(sample_seconds / seconds)));
}

// Nearest rank, of sorted values.
double percentile(const std::vector<double>& sorted, double share) {
    return sorted[static_cast<size_t>(std::lround(share * static_cast<double>(sorted.size() - 1)))];
}

}  // namespace

std::vector<Timings> time_interleaved(const std::vector<std::function<void()>>& calls, int64_t rounds,
                                      double sample_seconds) {
    const size_t count = calls.size();
    std::vector<int64_t> repeats;
    for (const auto& call : calls) repeats.push_back(repeats_for(call, sample_seconds));
    std::vector<std::vector<double>> samples(count);
    for (int64_t round = 0; round < rounds; ++round)
        for (size_t turn = 0; turn < count; ++turn) {
            const size_t i = (static_cast<size_t>(round) + turn) % count;  // each round begins with the next call
            samples[i].push_back(seconds_of(calls[i], repeats[i]) / static_cast<double>(repeats[i]));
        }
    std::vector<Timings> timings;
    for (std::vector<double>& of_call : samples) {
        std::sort(of_call.begin(), of_call.end());
        timings.push_back({percentile(of_call, 0.5), percentile(of_call, 0.05), percentile(of_call, 0.95)});
    }
    return timings;
}

}  // namespace native_bench
