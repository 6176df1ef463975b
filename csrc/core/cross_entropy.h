// The loss of a small classifier and its gradient in one pass, which in torch are fourteen operators.
#pragma once

#include <cstdint>

namespace mnist_fast {

// logits are rows of `classes`; targets, from 0 to classes - 1, one for each row. The target distribution of a row is
// 1 - smoothing on its target, and smoothing spread over all classes.
struct CrossEntropyArgs {
    int64_t rows, classes;
    const float* logits;
    const int64_t* targets;
    double smoothing;
    double divisor;   // of the sum over the rows
    float* gradient;  // of the result by logits
};

float cross_entropy(const CrossEntropyArgs& args);

}  // namespace mnist_fast
