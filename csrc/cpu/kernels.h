// What an instruction set provides: kernels on one sample whose data is dense, channels innermost and already padded.
#pragma once

#include "core/bfloat16.h"
#include "core/conv_pool.h"

namespace mnist_fast::cpu {

// Scratch for the weight gradient's lists of what carries gradient: of each output channel, where the winners'
// receptive fields begin in the sample's input.
template <typename T>
struct AliveLists {
    int32_t* index;
    T* grad;
};

struct MatrixSize {
    int64_t rows, columns, inner;
};

// Forward by Winograd's algorithm, for problems of suits_winograd(), of samples of S.
template <typename S, typename T>
struct WinogradKernels {
    int64_t tile_columns;
    int64_t tiles;  // that are taken together

    // direct: packed for Kernels::forward().
    void (*filter)(const ConvPool& p, const T* direct, T* packed);

    // As Kernels::forward(), with filter()'s weights. arranged: scratch of winograd_input_size(). destination: where y
    // goes in the end, as many elements, which are asked for meanwhile. False: some result is not finite, and
    // Kernels::forward() has to do it again.
    bool (*forward)(const ConvPool& p, int64_t rows, const S* x, const T* weight, const T* bias, T* arranged, T* y,
                    uint8_t* code, const S* destination);
};

template <typename T>
struct Kernels {
    int64_t lanes;
    int64_t accumulators;  // vectors that input_gradient() keeps in registers

    // to[j * to_stride + i] = from[i * from_stride + j]. to_tensor: which of the two is not scratch, in the cache.
    void (*transpose)(const T* from, int64_t from_stride, int64_t rows, int64_t columns, T* to, int64_t to_stride,
                      bool to_tensor);

    // Between bfloat16 in memory and what is computed with. (Nobody calls those of double.)
    void (*widen)(const bfloat16* from, int64_t count, T* to);
    void (*narrow)(const T* from, int64_t count, bfloat16* to);

    // to[i] = scale * from[i] + offset
    void (*scale_bytes)(const uint8_t* from, int64_t count, T scale, T offset, T* to);

    // Between codes as the other kernels take them, a byte each, and one-bit codes.
    void (*pack_codes)(const uint8_t* codes, int64_t count, uint8_t* bits);
    void (*unpack_codes)(const uint8_t* bits, int64_t count, uint8_t* codes);

    // y[rows][out_w][o] and code (may be null) from x[...][padded_w][c]; x, y and code begin at the first of the rows.
    // weight as packed_forward_size() says; bias has o rounded up to whole vectors.
    // arranged: scratch of planar_size() where the problem suits_planar().
    void (*forward)(const ConvPool& p, int64_t rows, const T* x, const T* weight, const T* bias, T* arranged, T* y,
                    uint8_t* code);

    WinogradKernels<T, T> winograd;
    WinogradKernels<bfloat16, T> winograd_of_bfloat16;

    // Adds the sample's weight gradient of output channels [o_begin, o_end) to partial (grad_weight_layout()).
    // o_begin is a multiple of lanes. May read read_slack() elements past x.
    void (*weight_gradient)(const ConvPool& p, int64_t o_begin, int64_t o_end, const T* x, const T* grad_output,
                            const uint8_t* code, const AliveLists<T>& lists, T* partial);

    // Adds the sample's bias gradient of output channels [o_begin, o_end).
    void (*bias_gradient)(const ConvPool& p, int64_t o_begin, int64_t o_end, const T* grad_output, const uint8_t* code,
                          T* partial);

    // Writes the sample's input gradient, grad_input[padded_h][padded_w][c]. weight: of each group of kFilterGroup
    // filters in turn as for_each_row_block() says.
    void (*input_gradient)(const ConvPool& p, const T* weight, const T* grad_output, const uint8_t* code,
                           T* grad_input);

    // to[rows][columns] = alpha a[rows][inner] b[inner][columns] + beta d[rows][columns], d unread where beta is 0.
    // Rows and columns are multiples of lanes. `to` may be d, not a or b.
    void (*multiply_add)(const MatrixSize& size, const T* a, const T* b, T alpha, const T* d, T beta, T* to);
};

// Gradients of bfloat16 tensors by dot products of pairs (bfloat16.inc), for problems of suits_pairs(): as in Kernels,
// with bfloat16 inputs and weights. Partial sums and packed weights have their own layouts.
struct PairKernels {
    int64_t accumulators;  // times 32 elements that input_gradient() keeps in registers
    void (*weight_gradient)(const ConvPool& p, int64_t o_begin, int64_t o_end, const bfloat16* x,
                            const float* grad_output, const uint8_t* code, const AliveLists<float>& lists,
                            float* partial);
    void (*input_gradient)(const ConvPool& p, const bfloat16* weight, const float* grad_output, const uint8_t* code,
                           float* grad_input);
};
#if defined(__x86_64__)
extern const PairKernels avx512_pairs;
#endif

#define MNIST_FAST_ISA(name, supported)       \
    extern const Kernels<float> name##_float; \
    extern const Kernels<double> name##_double;
#include "cpu/isa.inc"
#undef MNIST_FAST_ISA

}  // namespace mnist_fast::cpu
