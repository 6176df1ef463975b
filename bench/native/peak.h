// The most arithmetic that a core can do: independent chains of fused multiply-adds that touch no memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace native_bench {

struct Peak {
    std::string isa, dtype;
    int64_t flops;                 // of one step
    double (*run)(int64_t steps);  // the result keeps the compiler from leaving the work out
};

// One for each instruction set and type that this machine computes with.
std::vector<Peak> available_peaks();

}  // namespace native_bench
