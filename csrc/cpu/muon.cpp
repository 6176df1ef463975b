#include "core/muon.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "core/scratch.h"
#include "cpu/kernels.h"
#include "cpu/layout.h"
#include "cpu/select.h"

namespace mnist_fast {
namespace {

// The iteration's polynomial a x + b x^3 + c x^5.
constexpr float kA = 3.4445f, kB = -4.7750f, kC = 2.0315f;

// The matrices, lying on their long side, with zeros up to whole vectors in both directions: those stay zero.
struct Workspace {
    int64_t short_side, long_side;  // padded
    float *x, *next, *transposed, *gram, *polynomial;

    Workspace(int64_t rows, int64_t columns, int64_t lanes)
        : short_side(cpu::round_up(std::min(rows, columns), lanes)),
          long_side(cpu::round_up(std::max(rows, columns), lanes)) {
        const int64_t matrix = short_side * long_side, square = short_side * short_side;
        x = scratch<float>(Slot::kMatrices, 3 * matrix + 2 * square);
        next = x + matrix;
        transposed = next + matrix;
        gram = transposed + matrix;
        polynomial = gram + square;
        std::memset(x, 0, sizeof(float) * matrix);
    }
};

// Brings the singular values of w.x, which are at most 1, near to 1.
void orthogonalize(const cpu::Kernels<float>& kernels, Workspace& w, int64_t steps) {
    const int64_t m = w.short_side, n = w.long_side;
    for (int64_t step = 0; step < steps; ++step) {
        kernels.transpose(w.x, n, m, n, w.transposed, m, false);
        kernels.multiply_add({m, m, n}, w.x, w.transposed, 1, w.gram, 0, w.gram);
        kernels.multiply_add({m, m, m}, w.gram, w.gram, kC, w.gram, kB, w.polynomial);
        kernels.multiply_add({m, n, m}, w.polynomial, w.x, 1, w.x, kA, w.next);
        std::swap(w.x, w.next);
    }
}

}  // namespace

void muon(const MuonArgs& args) {
    const cpu::Kernels<float>* const active = cpu::active_kernels<float>();
    const cpu::Kernels<float>& kernels = active ? *active : cpu::scalar_float;
    Workspace w(args.rows, args.columns, kernels.lanes);
    // Where w.x holds the element in row i and column j.
    const bool tall = args.rows > args.columns;
    const int64_t row_stride = tall ? 1 : w.long_side, column_stride = tall ? w.long_side : 1;

    const float momentum = static_cast<float>(args.momentum);
    double square = 0;
    for (int64_t i = 0; i < args.rows; ++i)
        for (int64_t j = 0; j < args.columns; ++j) {
            const int64_t element = i * args.columns + j;
            const float gradient = args.gradient[element];
            float& m = args.momentum_buffer[element];
            m = momentum * m + gradient;
            const float direction = gradient + momentum * m;
            w.x[i * row_stride + j * column_stride] = direction;
            square += static_cast<double>(direction) * direction;
        }
    const float norm = static_cast<float>(std::sqrt(square)) + 1e-7f;
    for (int64_t i = 0; i < w.short_side * w.long_side; ++i) w.x[i] /= norm;

    orthogonalize(kernels, w, args.steps);

    const double aspect = static_cast<double>(args.rows) / static_cast<double>(args.columns);
    const float rate = static_cast<float>(args.rate * std::sqrt(std::max(1.0, aspect)));
    const float kept = static_cast<float>(1 - args.rate * args.weight_decay);
    for (int64_t i = 0; i < args.rows; ++i)
        for (int64_t j = 0; j < args.columns; ++j) {
            float& parameter = args.parameter[i * args.columns + j];
            parameter = kept * parameter - rate * w.x[i * row_stride + j * column_stride];
        }
}

}  // namespace mnist_fast
