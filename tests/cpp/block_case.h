// A problem with its operands, and how to run it: by the reference or by the kernels, in memory placed as one likes.
#pragma once

#include <cstdint>
#include <thread>
#include <vector>

#include "buffer.h"
#include "core/block.h"
#include "core/reference.h"
#include "problems.h"

namespace mnist_fast {

inline int64_t thread_count = 1;

// One thread is the caller itself, whose scratch memory still holds what the problems before left there.
inline const Parallel kThreads{[](int64_t count, void (*body)(void*, int64_t, int64_t), void* context) {
    if (thread_count == 1) return body(context, 0, count);
    std::vector<std::thread> threads;
    for (int64_t t = 0; t < thread_count; ++t)
        threads.emplace_back(body, context, count * t / thread_count, count * (t + 1) / thread_count);
    for (std::thread& thread : threads) thread.join();
}};

template <typename T>
struct Outputs {
    std::vector<T> y;
    std::vector<uint8_t> code;
};

template <typename T>
struct Gradients {
    std::vector<T> x, w, b;
};

template <typename T>
struct BlockCase {
    ConvPool p;
    Layout x_layout, w_layout, y_layout, g_layout, gx_layout, gw_layout;
    std::vector<T> x, w, b, g;  // all memory between a tensor's first and last element; b is empty where there is none
    bool wants_gx = true, wants_gw = true, wants_gb = true;

    // layout: of what is only read.
    BlockCase(const ConvPool& problem, Layout (*layout)(int64_t n, int64_t c, int64_t h, int64_t w))
        : p(problem),
          x_layout(layout(p.n, p.c, p.h, p.w)),
          w_layout(layout(p.o, p.c, p.kh, p.kw)),
          y_layout(any_layout(p.n, p.o, p.out_h, p.out_w)),
          g_layout(layout(p.n, p.o, p.out_h, p.out_w)),
          gx_layout(any_layout(p.n, p.c, p.h, p.w)),
          gw_layout(any_layout(p.o, p.c, p.kh, p.kw)) {}

    bool wants_gradients() const { return wants_gx || wants_gw || wants_gb; }
    size_t code_size() const { return static_cast<size_t>(p.n * p.out_h * p.code_row()); }

    // The code is not asked for where no gradient is.
    Outputs<T> forward(bool by_reference, Placement at) const {
        Buffer<T> in_x(x, at), in_w(w, at), in_b(b, at), y(unwritten<T>(y_layout.size), at);
        Buffer<uint8_t> code(std::vector<uint8_t>(code_size(), 99), at);
        for (Buffer<T>* operand : {&in_x, &in_w, &in_b}) operand->freeze();
        const ForwardArgs<T> args{p,           in_x.data(),      x_layout.strides,
                                  in_w.data(), w_layout.strides, b.empty() ? nullptr : in_b.data(),
                                  y.data(),    y_layout.strides, wants_gradients() ? code.data() : nullptr};
        call(at, [&] { by_reference ? reference_forward(args) : mnist_fast::forward(args, kThreads); });
        return {y.values(), code.values()};
    }

    Gradients<T> backward(const std::vector<uint8_t>& winners, bool by_reference, Placement at) const {
        Buffer<T> in_x(x, at), in_w(w, at), in_g(g, at);
        Buffer<T> gx(unwritten<T>(wants_gx ? gx_layout.size : 0), at);
        Buffer<T> gw(unwritten<T>(wants_gw ? gw_layout.size : 0), at), gb(unwritten<T>(wants_gb ? p.o : 0), at);
        Buffer<uint8_t> code(winners, at);
        for (Buffer<T>* operand : {&in_x, &in_w, &in_g}) operand->freeze();
        code.freeze();
        const BackwardArgs<T> args{p,
                                   in_g.data(),
                                   g_layout.strides,
                                   in_x.data(),
                                   x_layout.strides,
                                   in_w.data(),
                                   w_layout.strides,
                                   code.data(),
                                   wants_gx ? gx.data() : nullptr,
                                   gx_layout.strides,
                                   wants_gw ? gw.data() : nullptr,
                                   gw_layout.strides,
                                   wants_gb ? gb.data() : nullptr};
        call(at, [&] { by_reference ? reference_backward(args) : mnist_fast::backward(args, kThreads); });
        return {gx.values(), gw.values(), gb.values()};
    }

  private:
    // From a new thread where memory ends at a guard: its scratch memory is then as small as this problem needs it.
    template <typename Call>
    static void call(Placement at, Call work) {
        if (at == Placement::kEndsAtGuard)
            std::thread(work).join();
        else
            work();
    }

    // What lies between a tensor's elements has to stay like this.
    template <typename U>
    static std::vector<U> unwritten(int64_t size) {
        return std::vector<U>(static_cast<size_t>(size), U(99));
    }
};

}  // namespace mnist_fast
