// The work that is measured: the kernels of every block, on the data that the block meets in its network.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace native_bench {

struct Kernel {
    std::string block, name;
    double flops;        // forward: of the dense convolution; gradients: of the positions that carry gradient
    double alive_share;  // of the pooled outputs, those that carry gradient
    std::function<void()> call;
};

// Allocates the data; calls run on kThreads. T: an element type of core/block.h.
template <typename T>
std::vector<Kernel> make_kernels(int64_t batch_size, bool channels_last);

}  // namespace native_bench
