// What AVX512-BF16 does better than AVX-512 alone.
#include <immintrin.h>

#include "core/geometry.h"
#include "cpu/kernels.h"
#include "cpu/layout.h"

#define MNIST_FAST_VECTOR_BYTES 64
#define MNIST_FAST_REGISTERS 32

namespace mnist_fast::cpu {
namespace {

#include "cpu/vector.inc"
#include "cpu/pooling.inc"
#include "cpu/forward.inc"
#include "cpu/planar.inc"
#include "cpu/weight_gradient.inc"
#include "cpu/input_gradient.inc"
#include "cpu/bfloat16.inc"

}  // namespace

extern const PairKernels avx512_pairs = {kAccumulators / 2, &weight_gradient_of_pairs, &input_gradient<PairProducts>};

}  // namespace mnist_fast::cpu
