// Muon's update of a small matrix, which in torch is thirty operators that take longer to call than to run. The formula
// is that of mnist_fast/optim/muon.py.
#pragma once

#include <cstdint>

namespace mnist_fast {

// Dense rows of columns. With m and w the old values, momentum_buffer becomes m' = momentum m + gradient, and parameter
// (1 - rate weight_decay) w - rate sqrt(max(1, rows / columns)) NS(gradient + momentum m'), with so many `steps` in NS.
struct MuonArgs {
    int64_t rows, columns;
    float* parameter;
    float* momentum_buffer;
    const float* gradient;
    double rate, momentum, weight_decay;
    int64_t steps;
};

void muon(const MuonArgs& args);

}  // namespace mnist_fast
