// What was measured, as a table for people and as JSON for programs.
#pragma once

#include <string>
#include <vector>

#include "options.h"
#include "timing.h"

namespace native_bench {

struct PeakResult {
    std::string isa, dtype;
    double gflops;  // of all threads together
};

struct KernelResult {
    std::string block, kernel;
    Timings timings;
    double flops, gflops, peak_share, alive_share;
};

struct Report {
    Options options;  // isa: the one that ran
    std::vector<PeakResult> peaks;
    std::vector<KernelResult> kernels;
};

std::string to_table(const Report& report);
std::string to_json(const Report& report);

}  // namespace native_bench
