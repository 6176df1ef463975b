#include "core/reference.h"

#include <cmath>
#include <vector>

#include "core/bfloat16.h"
#include "core/code.h"

namespace mnist_fast {
namespace {

int64_t at(const Strides& s, int64_t n, int64_t c, int64_t h, int64_t w) {
    return n * s.n + c * s.c + h * s.h + w * s.w;
}

// Calls use(c, ky, kx, y, x) for each weight and the input pixel it meets at convolution output (cy, cx).
template <typename Use>
void for_each_tap(const ConvPool& p, int64_t cy, int64_t cx, Use use) {
    for (int64_t c = 0; c < p.c; ++c)
        for (int64_t ky = 0; ky < p.kh; ++ky)
            for (int64_t kx = 0; kx < p.kw; ++kx) {
                const int64_t y = cy * p.stride_h + ky - p.pad_h, x = cx * p.stride_w + kx - p.pad_w;
                if (y >= 0 && y < p.h && x >= 0 && x < p.w) use(c, ky, kx, y, x);
            }
}

template <typename Use>
void for_each_output(const ConvPool& p, Use use) {
    for (int64_t n = 0; n < p.n; ++n)
        for (int64_t py = 0; py < p.out_h; ++py)
            for (int64_t px = 0; px < p.out_w; ++px)
                for (int64_t o = 0; o < p.o; ++o) use(n, py, px, o);
}

template <typename T>
void fill_zero(T* data, const Strides& s, int64_t n, int64_t c, int64_t h, int64_t w) {
    for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < c; ++j)
            for (int64_t y = 0; y < h; ++y)
                for (int64_t x = 0; x < w; ++x) data[at(s, i, j, y, x)] = 0;
}

// A (N, C, H, W) tensor in float, for the time of a call.
class InFloat {
  public:
    InFloat(bfloat16* data, const Strides& from, int64_t n, int64_t c, int64_t h, int64_t w)
        : data_(data), from_(from), size_{n, c, h, w}, values_(static_cast<size_t>(data ? n * c * h * w : 0)) {}
    InFloat(const bfloat16* data, const Strides& from, int64_t n, int64_t c, int64_t h, int64_t w)
        : InFloat(const_cast<bfloat16*>(data), from, n, c, h, w) {
        each([](bfloat16& narrow, float& wide) { wide = narrow; });
    }

    float* data() { return data_ ? values_.data() : nullptr; }
    Strides strides() const { return {size_.c * size_.h * size_.w, size_.h * size_.w, size_.w, 1}; }
    void write_back() {
        each([](bfloat16& narrow, float& wide) { narrow = bfloat16(wide); });
    }

  private:
    template <typename Use>
    void each(Use use) {
        for (int64_t n = 0, i = 0; data_ && n < size_.n; ++n)
            for (int64_t c = 0; c < size_.c; ++c)
                for (int64_t h = 0; h < size_.h; ++h)
                    for (int64_t w = 0; w < size_.w; ++w, ++i)
                        use(data_[at(from_, n, c, h, w)], values_[static_cast<size_t>(i)]);
    }

    bfloat16* data_;
    Strides from_;
    struct {
        int64_t n, c, h, w;
    } size_;
    std::vector<float> values_;
};

}  // namespace

template <typename T>
void reference_forward(const ForwardArgs<T>& a) {
    const ConvPool& p = a.p;
    for_each_output(p, [&](int64_t n, int64_t py, int64_t px, int64_t o) {
        T best = 0;
        uint8_t code = 0;
        for (int64_t i = 0; i < p.pool_h; ++i)
            for (int64_t j = 0; j < p.pool_w; ++j) {
                T sum = a.bias ? a.bias[o] : T(0);
                for_each_tap(p, py * p.pool_stride_h + i, px * p.pool_stride_w + j,
                             [&](int64_t c, int64_t ky, int64_t kx, int64_t y, int64_t x) {
                                 sum += a.input[at(a.input_strides, n, c, y, x)] *
                                        a.weight[at(a.weight_strides, o, c, ky, kx)];
                             });
                const bool first = i == 0 && j == 0;
                if (first || sum > best || std::isnan(sum)) {
                    best = sum;
                    code = static_cast<uint8_t>(i * p.pool_w + j);
                }
            }
        if (p.relu && best <= 0) {
            best = 0;
            code = kDead;
        }
        a.output[at(a.output_strides, n, o, py, px)] = best;
        if (a.code) write_code(p, a.code, n, py, px, o, code);
    });
}

template <typename T>
void reference_backward(const BackwardArgs<T>& a) {
    const ConvPool& p = a.p;
    if (a.grad_input) fill_zero(a.grad_input, a.grad_input_strides, p.n, p.c, p.h, p.w);
    if (a.grad_weight) fill_zero(a.grad_weight, a.grad_weight_strides, p.o, p.c, p.kh, p.kw);
    if (a.grad_bias)
        for (int64_t o = 0; o < p.o; ++o) a.grad_bias[o] = 0;

    for_each_output(p, [&](int64_t n, int64_t py, int64_t px, int64_t o) {
        const uint8_t code = read_code(p, a.code, n, py, px, o);
        if (code == kDead) return;
        const T grad = a.grad_output[at(a.grad_output_strides, n, o, py, px)];
        const int64_t cy = py * p.pool_stride_h + code / p.pool_w, cx = px * p.pool_stride_w + code % p.pool_w;
        for_each_tap(p, cy, cx, [&](int64_t c, int64_t ky, int64_t kx, int64_t y, int64_t x) {
            if (a.grad_input)
                a.grad_input[at(a.grad_input_strides, n, c, y, x)] +=
                    grad * a.weight[at(a.weight_strides, o, c, ky, kx)];
            if (a.grad_weight)
                a.grad_weight[at(a.grad_weight_strides, o, c, ky, kx)] +=
                    grad * a.input[at(a.input_strides, n, c, y, x)];
        });
        if (a.grad_bias) a.grad_bias[o] += grad;
    });
}

// bfloat16 is computed in float and rounded once.
template <>
void reference_forward(const ForwardArgs<bfloat16>& a) {
    const ConvPool& p = a.p;
    InFloat input(a.input, a.input_strides, p.n, p.c, p.h, p.w);
    InFloat weight(a.weight, a.weight_strides, p.o, p.c, p.kh, p.kw);
    InFloat bias(a.bias, {1, 0, 0, 0}, p.o, 1, 1, 1);
    InFloat output(a.output, a.output_strides, p.n, p.o, p.out_h, p.out_w);
    reference_forward<float>({p, input.data(), input.strides(), weight.data(), weight.strides(), bias.data(),
                              output.data(), output.strides(), a.code});
    output.write_back();
}

template <>
void reference_backward(const BackwardArgs<bfloat16>& a) {
    const ConvPool& p = a.p;
    InFloat grad_output(a.grad_output, a.grad_output_strides, p.n, p.o, p.out_h, p.out_w);
    InFloat input(a.input, a.input_strides, p.n, p.c, p.h, p.w);
    InFloat weight(a.weight, a.weight_strides, p.o, p.c, p.kh, p.kw);
    InFloat grad_input(a.grad_input, a.grad_input_strides, p.n, p.c, p.h, p.w);
    InFloat grad_weight(a.grad_weight, a.grad_weight_strides, p.o, p.c, p.kh, p.kw);
    InFloat grad_bias(a.grad_bias, {1, 0, 0, 0}, p.o, 1, 1, 1);
    reference_backward<float>({p, grad_output.data(), grad_output.strides(), input.data(), input.strides(),
                               weight.data(), weight.strides(), a.code, grad_input.data(), grad_input.strides(),
                               grad_weight.data(), grad_weight.strides(), grad_bias.data()});
    grad_input.write_back();
    grad_weight.write_back();
    grad_bias.write_back();
}

template void reference_forward<float>(const ForwardArgs<float>&);
template void reference_forward<double>(const ForwardArgs<double>&);
template void reference_backward<float>(const BackwardArgs<float>&);
template void reference_backward<double>(const BackwardArgs<double>&);

}  // namespace mnist_fast
