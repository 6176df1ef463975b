// A problem with operands in memory that ends at guard pages, run by the CUDA kernels on the CPU, and compared with the
// reference in float64.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "cpp/buffer.h"
#include "cpp/problems.h"
#include "core/bfloat16.h"
#include "core/code.h"
#include "core/reference.h"
#include "cuda/block.h"
#include "cuda/plan.h"
#include "simt/ptx.h"

namespace mnist_fast {

// What a kernel's result may differ by: a share of the result (its rounding), but no less than where results are too
// small for their type's normal numbers, and a share of the sum of absolute products.
struct Bounds {
    double result, products, smallest_normal;
};

template <typename T>
T narrow(double value);
template <>
inline float narrow<float>(double value) {
    return static_cast<float>(value);
}
template <>
inline bfloat16 narrow<bfloat16>(double value) {
    bfloat16 result;
    result.bits = cuda::ptx::bfloat16_bits(static_cast<float>(value));
    return result;
}
template <>
inline float16 narrow<float16>(double value) {
    return {cuda::ptx::float16_bits(static_cast<float>(value))};
}

inline double widen(float value) { return value; }
inline double widen(bfloat16 value) { return static_cast<float>(value); }
inline double widen(float16 value) { return cuda::ptx::from_float16_bits(value.bits); }

template <typename T>
std::vector<double> widen(const std::vector<T>& values) {
    std::vector<double> wide;
    for (const T& value : values) wide.push_back(widen(value));
    return wide;
}

enum class Operands { kIntegers, kNormals, kNonfinite };

template <typename T>
struct BlockCase {
    ConvPool p;
    cuda::Float32 float32;
    Bounds bounds;
    Placement at;
    Layout x_layout, w_layout, g_layout, y_layout, gx_layout, gw_layout;
    std::vector<T> x, w, b, g;

    struct Results {
        std::vector<double> y, gx, gw, gb;
        std::vector<uint8_t> code;
    };

    BlockCase(const ConvPool& problem, cuda::Float32 float32, Operands operands, bool bias, bool channels_last_format,
              bool views, Placement placement)
        : p(problem),
          float32(float32),
          bounds(bounds_of(cuda::is_direct(problem) ? cuda::Float32::kFull : float32)),
          at(placement),
          x_layout(layout(p.n, p.c, p.h, p.w, channels_last_format, views)),
          w_layout(layout(p.o, p.c, p.kh, p.kw, channels_last_format, views)),
          g_layout(layout(p.n, p.o, p.out_h, p.out_w, channels_last_format, views)),
          y_layout(writable(p.n, p.o, p.out_h, p.out_w, channels_last_format, views)),
          gx_layout(writable(p.n, p.c, p.h, p.w, channels_last_format, views)),
          gw_layout(writable(p.o, p.c, p.kh, p.kw, channels_last_format, views)),
          x(values(x_layout.size, operands, 4, 1)),
          w(values(w_layout.size, operands, 2, 1 / std::sqrt(static_cast<double>(p.c * p.kh * p.kw)))),
          b(values(bias ? p.o : 0, operands, 8, 0.1)),
          g(values(g_layout.size, operands, 2, 1)) {
        // Zeros around the input times a weight that is not finite: the reference leaves such products out.
        if (operands == Operands::kNonfinite) w = values(w_layout.size, Operands::kIntegers, 2, 1);
    }

    // With the code of `forward`, or with another one.
    Results run(const std::vector<uint8_t>* code_to_use = nullptr) const {
        Buffer<T> in_x(x, at), in_w(w, at), in_b(b, at), in_g(g, at);
        for (Buffer<T>* operand : {&in_x, &in_w, &in_b, &in_g}) operand->freeze();
        Buffer<T> y(unwritten(y_layout.size), at), gx(unwritten(gx_layout.size), at);
        Buffer<T> gw(unwritten(gw_layout.size), at), gb(unwritten(p.o), at);
        Buffer<uint8_t> code(std::vector<uint8_t>(code_size(), 99), at);
        {
            Buffer<uint8_t> workspace = poisoned(cuda::forward_workspace_bytes<T>(p));
            cuda::forward<T>({p, in_x.data(), x_layout.strides, in_w.data(), w_layout.strides,
                              b.empty() ? nullptr : in_b.data(), y.data(), y_layout.strides, code.data()},
                             float32, workspace.data(), simt::stream);
        }
        Buffer<uint8_t> winners(code_to_use ? *code_to_use : code.values(), at);
        winners.freeze();
        const BackwardArgs<T> backward{p,           in_g.data(),       g_layout.strides, in_x.data(), x_layout.strides,
                                       in_w.data(), w_layout.strides,  winners.data(),   gx.data(),   gx_layout.strides,
                                       gw.data(),   gw_layout.strides, gb.data()};
        Buffer<uint8_t> workspace = poisoned(cuda::backward_workspace_bytes<T>(backward));
        cuda::backward<T>(backward, float32, workspace.data(), simt::stream);
        return {widen(y.values()), widen(gx.values()), widen(gw.values()), widen(gb.values()), code.values()};
    }

    // absolute: of all operands, and without ReLU: the sums of absolute products.
    Results reference(const std::vector<uint8_t>& code_of_backward, bool absolute) const {
        ConvPool problem = p;
        problem.relu = p.relu && !absolute;
        const auto operand = [&](const std::vector<T>& values) {
            std::vector<double> wide = widen(values);
            for (double& value : wide) value = absolute ? std::abs(value) : value;
            return wide;
        };
        const std::vector<double> in_x = operand(x), in_w = operand(w), in_b = operand(b), in_g = operand(g);
        const auto output = [](int64_t size) { return std::vector<double>(static_cast<size_t>(size), kUnwritten); };
        Results r{output(y_layout.size), output(gx_layout.size), output(gw_layout.size), output(p.o), {}};
        std::vector<uint8_t> code(static_cast<size_t>(p.n * p.out_h * p.code_row()));
        reference_forward<double>({problem, in_x.data(), x_layout.strides, in_w.data(), w_layout.strides,
                                   in_b.empty() ? nullptr : in_b.data(), r.y.data(), y_layout.strides, code.data()});
        for_each_code([&](int64_t n, int64_t y, int64_t x, int64_t o, size_t) {
            r.code.push_back(read_code(p, code.data(), n, y, x, o));
        });
        for_each_code([&](int64_t n, int64_t y, int64_t x, int64_t o, size_t i) {
            write_code(p, code.data(), n, y, x, o, code_of_backward[i]);
        });
        reference_backward<double>({problem, in_g.data(), g_layout.strides, in_x.data(), x_layout.strides, in_w.data(),
                                    w_layout.strides, code.data(), r.gx.data(), gx_layout.strides, r.gw.data(),
                                    gw_layout.strides, r.gb.data()});
        return r;
    }

    // What stands between elements, and has to stay there.
    static constexpr double kUnwritten = 99;

  private:
    static Layout layout(int64_t n, int64_t c, int64_t h, int64_t w, bool channels_last_format, bool views) {
        if (views) return any_view(n, c, h, w);
        return {channels_last_format ? channels_last(c, h, w) : contiguous(c, h, w), n, c, h, w};
    }
    static Layout writable(int64_t n, int64_t c, int64_t h, int64_t w, bool channels_last_format, bool views) {
        return views ? any_layout(n, c, h, w) : layout(n, c, h, w, channels_last_format, false);
    }

    static Bounds bounds_of(cuda::Float32 float32) {
        if (sizeof(T) == 4) return {0x1p-24, float32 == cuda::Float32::kTf32 ? 0x1p-10 : 16 * 0x1p-24, 0x1p-126};
        if (std::is_same_v<T, bfloat16>) return {0x1p-8, 16 * 0x1p-24, 0x1p-126};
        return {0x1p-11, 16 * 0x1p-24, 0x1p-14};
    }

    static std::vector<T> values(int64_t size, Operands operands, int bound, double scale) {
        std::normal_distribution<double> normal;
        std::vector<T> result(static_cast<size_t>(size));
        for (T& value : result)
            value = narrow<T>(operands == Operands::kNormals ? scale * normal(random_bits)
                                                             : static_cast<double>(draw(-bound, bound)));
        if (operands == Operands::kNonfinite)
            for (int i = 0; i < 3 && size > 0; ++i)
                result[static_cast<size_t>(draw(0, size - 1))] =
                    narrow<T>(std::vector<double>{NAN, INFINITY, -INFINITY}[static_cast<size_t>(draw(0, 2))]);
        return result;
    }

    // The reference packs the codes of blocks without pooling into bits, the CUDA kernels do not.
    template <typename Use>
    void for_each_code(Use use) const {
        size_t i = 0;
        for (int64_t n = 0; n < p.n; ++n)
            for (int64_t y = 0; y < p.out_h; ++y)
                for (int64_t x = 0; x < p.out_w; ++x)
                    for (int64_t o = 0; o < p.o; ++o) use(n, y, x, o, i++);
    }

    size_t code_size() const { return static_cast<size_t>(p.n * p.out_positions() * p.o); }
    static std::vector<T> unwritten(int64_t size) {
        return std::vector<T>(static_cast<size_t>(size), narrow<T>(kUnwritten));
    }
    // Not a number in every format.
    static Buffer<uint8_t> poisoned(size_t bytes) {
        return Buffer<uint8_t>(std::vector<uint8_t>(bytes, 0xff), Placement::kEndsAtGuard);
    }
};

}  // namespace mnist_fast
