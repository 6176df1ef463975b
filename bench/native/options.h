// The command line.
#pragma once

#include <cstdint>
#include <string>

namespace native_bench {

struct Options {
    std::string blocks;  // part of the names of the blocks to measure
    int64_t batch_size = 64;
    int64_t threads = 1;
    std::string isa;  // empty: the best
    std::string dtype = "float32";
    std::string memory_format = "channels_last";
    int64_t rounds = 15;
    double sample_ms = 5;
    std::string json;  // a file; empty: none
};

// Throws std::invalid_argument with one line for the user.
Options parse_options(int argc, char** argv);

extern const char* const kUsage;

}  // namespace native_bench
