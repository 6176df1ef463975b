// The fused block y = max_pool(relu(conv(x, w) + b)), as plain numbers and pointers.
//
// Maths, for sample n, output channel o and pooled position (py, px), with every index in range:
//
//   conv[n][o][cy][cx] = b[o] + sum over (c, ky, kx) of
//                        x[n][c][cy*stride_h + ky - pad_h][cx*stride_w + kx - pad_w] * w[o][c][ky][kx]
//   (x is 0 outside)
//   win = conv over the window cy = py*pool_stride_h + i, cx = px*pool_stride_w + j,  i < pool_h, j < pool_w
//   y[n][o][py][px] = relu(max(win))          (max(win) without ReLU; pool 1x1 stride 1: no pooling)
//
// The code. One byte per pooled value is all that backward needs to know of the convolution's output:
//   code = i*pool_w + j of the winner, or kDead where ReLU let nothing through.
// Without pooling there is no winner to name, and a bit tells the living (1) from the dead (0): bit x*o + channel of
// its row of windows, the lowest bit of a byte first, the last byte filled up with 0. At most one of a window's
// positions carries gradient, so both gradients touch 1/(pool_h*pool_w) of what a dense backward touches, or less.
//
// Ties and NaN, as in torch: the first of equal values in row-major order wins; a NaN wins over numbers (the last one
// of several); ReLU lets NaN through, and blocks the gradient where the maximum is <= 0.
#pragma once

#include <cstdint>

namespace mnist_fast {

constexpr uint8_t kDead = 255;
constexpr int64_t kMaxPoolPositions = 255;  // codes 0..254

// What a caller asks for. Sizes are in elements.
struct ConvPoolSizes {
    int64_t n, c, h, w;                    // input
    int64_t o, kh, kw;                     // weight (o, c, kh, kw)
    int64_t stride_h, stride_w;            // convolution
    int64_t pad_h, pad_w;                  // zeros on each side
    int64_t pool_h, pool_w;                // window
    int64_t pool_stride_h, pool_stride_w;  // from window to window
    bool relu;
};

// A validated problem; made by make_conv_pool() only.
struct ConvPool : ConvPoolSizes {
    int64_t out_h, out_w;  // pooled output

    int64_t padded_h() const { return h + 2 * pad_h; }
    int64_t padded_w() const { return w + 2 * pad_w; }
    int64_t pool_positions() const { return pool_h * pool_w; }
    int64_t out_positions() const { return out_h * out_w; }
    bool one_bit_codes() const { return pool_positions() == 1; }
    int64_t code_row() const { return one_bit_codes() ? (out_w * o + 7) / 8 : out_w * o; }  // bytes of a row of windows
    int64_t run() const { return kw * c; }  // a kernel row's weights, contiguous in x when channels are innermost
};

// Strides of a (N, C, H, W) tensor, in elements; any values, also 0 and negative.
struct Strides {
    int64_t n, c, h, w;
};

template <typename T>
struct ForwardArgs {
    ConvPool p;
    const T* input;
    Strides input_strides;
    const T* weight;  // (o, c, kh, kw) through weight_strides
    Strides weight_strides;
    const T* bias;  // o contiguous values, or null
    T* output;
    Strides output_strides;
    uint8_t* code;  // [n][out_h][code_row()], or null when no backward will follow
};

template <typename T>
struct BackwardArgs {
    ConvPool p;
    const T* grad_output;
    Strides grad_output_strides;
    const T* input;
    Strides input_strides;
    const T* weight;
    Strides weight_strides;
    const uint8_t* code;
    T* grad_input;  // null where not asked for; every element is written
    Strides grad_input_strides;
    T* grad_weight;  // likewise
    Strides grad_weight_strides;
    T* grad_bias;  // likewise; contiguous
};

}  // namespace mnist_fast
