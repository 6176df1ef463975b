#include "core/cross_entropy.h"

#include <algorithm>
#include <cmath>

namespace mnist_fast {

float cross_entropy(const CrossEntropyArgs& args) {
    const int64_t classes = args.classes;
    const float smoothing = static_cast<float>(args.smoothing), everywhere = smoothing / static_cast<float>(classes),
                scale = static_cast<float>(1 / args.divisor);
    double total = 0;
    for (int64_t row = 0; row < args.rows; ++row) {
        const float* const x = args.logits + row * classes;
        float* const gradient = args.gradient + row * classes;
        // It may pass over a NaN, which the exponentials bring into the sum.
        float largest = x[0];
        for (int64_t i = 1; i < classes; ++i) largest = std::max(largest, x[i]);
        float sum = 0, mean = 0;
        for (int64_t i = 0; i < classes; ++i) {
            gradient[i] = std::exp(x[i] - largest);
            sum += gradient[i];
            mean += x[i] - largest;
        }
        const int64_t target = args.targets[row];
        const float log_sum = std::log(sum);
        total += log_sum - (1 - smoothing) * (x[target] - largest);
        if (smoothing != 0) total -= everywhere * mean;  // zero times an infinity would be no number
        for (int64_t i = 0; i < classes; ++i) gradient[i] = (gradient[i] / sum - everywhere) * scale;
        gradient[target] -= (1 - smoothing) * scale;
    }
    return static_cast<float>(total / args.divisor);
}

}  // namespace mnist_fast
