// What an instruction set provides: kernels on one sample whose data is dense, channels innermost and already padded.
#pragma once

#include "core/conv_pool.h"

namespace mnist_fast::cpu {

// An output channel's list of pooled positions that carry gradient.
template <typename T>
struct AliveLists {
    int32_t*
        offset;  // where the winner's receptive field begins in the sample's input; [channel][channel_list_capacity()]
    T* grad;     // its gradient; [channel][channel_list_capacity()]
};

template <typename T>
struct Kernels {
    int64_t lanes;

    // y[rows][out_w][o] and code (may be null) from x[...][padded_w][c]; x, y and code begin at the first of the rows.
    // weight as packed_forward_size() says; bias has o rounded up to whole vectors.
    void (*forward)(const ConvPool& p, int64_t rows, const T* x, const T* weight, const T* bias, T* y, uint8_t* code);

    // Adds the sample's weight gradient of output channels [o_begin, o_end) to partial (grad_weight_layout()).
    // o_begin is a multiple of lanes. May read read_slack() elements past x.
    void (*weight_gradient)(const ConvPool& p, int64_t o_begin, int64_t o_end, const T* x, const T* grad_output,
                            const uint8_t* code, const AliveLists<T>& lists, T* partial);

    // Adds the sample's bias gradient of output channels [o_begin, o_end).
    void (*bias_gradient)(const ConvPool& p, int64_t o_begin, int64_t o_end, const T* grad_output, const uint8_t* code,
                          T* partial);

    // Adds the sample's input gradient to grad_input[padded_h][padded_w][c], which has read_slack() elements behind it.
    // weight as packed_rows_size() says. Lists: [window of listed_windows()][pool position][window_list_capacity()].
    void (*input_gradient)(const ConvPool& p, const T* weight, const T* grad_output, const uint8_t* code,
                           const AliveLists<T>& lists, T* grad_input);
};

#define MNIST_FAST_ISA(name, supported)       \
    extern const Kernels<float> name##_float; \
    extern const Kernels<double> name##_double;
#include "cpu/isa.inc"
#undef MNIST_FAST_ISA

}  // namespace mnist_fast::cpu
