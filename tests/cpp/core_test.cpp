// The kernels without torch: random problems on every instruction set and several thread counts against the reference.
// Operands are small integers, so results must be equal. Every buffer is exactly as large as it has to be and lies
// where an access beyond it is noticed (buffer.h); a crash names the problem that was being computed.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "buffer.h"
#include "core/block.h"
#include "core/geometry.h"
#include "core/isa.h"
#include "core/reference.h"

namespace {

using namespace mnist_fast;

int64_t thread_count = 1;

const Parallel kThreads{[](int64_t count, void (*body)(void*, int64_t, int64_t), void* context) {
    std::vector<std::thread> threads;
    for (int64_t t = 0; t < thread_count; ++t)
        threads.emplace_back(body, context, count * t / thread_count, count * (t + 1) / thread_count);
    for (std::thread& thread : threads) thread.join();
}};

std::mt19937 random_bits(1);

int64_t draw(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(random_bits); }

int64_t one_of(std::initializer_list<int64_t> choices) {
    return choices.begin()[draw(0, static_cast<int64_t>(choices.size()) - 1)];
}

template <typename T>
std::vector<T> integers(int64_t size, int64_t bound) {
    std::vector<T> values(static_cast<size_t>(size));
    for (T& value : values) value = T(static_cast<float>(draw(-bound, bound)));
    return values;
}

Strides contiguous(int64_t c, int64_t h, int64_t w) { return {c * h * w, h * w, w, 1}; }
Strides channels_last(int64_t c, int64_t h, int64_t w) { return {c * h * w, 1, w * c, c}; }
Strides any_format(int64_t c, int64_t h, int64_t w) {
    return draw(0, 1) ? contiguous(c, h, w) : channels_last(c, h, w);
}

// Any sizes that the kernels cover.
ConvPoolSizes arbitrary_sizes() {
    ConvPoolSizes s{draw(0, 5), draw(1, 20),    draw(1, 20), draw(1, 20), draw(1, 40), draw(1, 7), draw(1, 7),
                    draw(1, 2), draw(1, 2),     0,           0,           draw(1, 4),  draw(1, 4), draw(1, 4),
                    draw(1, 4), draw(0, 1) == 1};
    s.pad_h = draw(0, s.kh - 1);
    s.pad_w = draw(0, s.kw - 1);
    return s;
}

// Layers as networks have them, for which there are special paths: square, stride 1, even channels, plain pooling.
ConvPoolSizes usual_sizes() {
    const int64_t k = one_of({3, 3, 5}), pool = draw(1, 3);
    ConvPoolSizes s{};
    s.n = draw(1, 4);
    s.c = one_of({1, 3, 6, 8, 16, 24, 32});
    s.o = one_of({6, 8, 16, 24, 32, 64});
    s.h = s.w = draw(5, 17);
    s.kh = s.kw = k;
    s.stride_h = s.stride_w = 1;
    s.pad_h = s.pad_w = draw(0, 1) * (k / 2);
    s.pool_h = s.pool_w = s.pool_stride_h = s.pool_stride_w = pool;
    s.relu = draw(0, 1) == 1;
    return s;
}

// A problem of a size that the reference computes quickly.
ConvPool random_problem() {
    for (;;) {
        const ConvPoolSizes s = draw(0, 1) ? arbitrary_sizes() : usual_sizes();
        if (s.n * s.c * s.o * s.h * s.w * s.kh * s.kw > 2000000) continue;
        try {
            return make_conv_pool(s);
        } catch (const std::invalid_argument&) {
        }
    }
}

// What is being computed, spelt out beforehand: a signal handler may not do it.
char current[512];

void describe(const ConvPool& p, const char* dtype) {
    std::snprintf(current, sizeof current,
                  "%s on %s with %ld threads: n=%ld c=%ld h=%ld w=%ld o=%ld kernel %ldx%ld stride %ld,%ld padding "
                  "%ld,%ld pool %ldx%ld by %ld,%ld relu=%d\n",
                  dtype, active_isa().c_str(), thread_count, p.n, p.c, p.h, p.w, p.o, p.kh, p.kw, p.stride_h,
                  p.stride_w, p.pad_h, p.pad_w, p.pool_h, p.pool_w, p.pool_stride_h, p.pool_stride_w, p.relu);
}

void on_crash(int) {
    constexpr char kWhat[] = "access beyond a buffer: ";
    const bool said =
        write(STDERR_FILENO, kWhat, sizeof kWhat - 1) > 0 && write(STDERR_FILENO, current, std::strlen(current)) > 0;
    _exit(said ? 1 : 2);
}

void require(bool condition, const char* what) {
    if (condition) return;
    std::fprintf(stderr, "%s differs: %s", what, current);
    std::exit(1);
}

template <typename T>
void check_against_reference(const char* dtype) {
    const ConvPool p = random_problem();
    const std::vector<T> x = integers<T>(p.n * p.c * p.h * p.w, 4), w = integers<T>(p.o * p.c * p.kh * p.kw, 2),
                         b = integers<T>(p.o, 8), g = integers<T>(p.n * p.o * p.out_positions(), 2);
    const Strides sx = any_format(p.c, p.h, p.w), sw = any_format(p.c, p.kh, p.kw),
                  sy = any_format(p.o, p.out_h, p.out_w), sg = any_format(p.o, p.out_h, p.out_w);

    struct Results {
        std::vector<T> y, gx, gw, gb;
        std::vector<uint8_t> code;
    };
    const auto run = [&](bool reference, Placement at) {
        const auto unwritten = [](const std::vector<T>& like) { return std::vector<T>(like.size(), T(99)); };
        Buffer<T> in_x(x, at), in_w(w, at), in_b(b, at), in_g(g, at);
        Buffer<T> y(unwritten(g), at), gx(unwritten(x), at), gw(unwritten(w), at), gb(unwritten(b), at);
        Buffer<uint8_t> code(std::vector<uint8_t>(g.size(), 99), at);
        for (Buffer<T>* operand : {&in_x, &in_w, &in_b, &in_g}) operand->freeze();

        const ForwardArgs<T> f{p, in_x.data(), sx, in_w.data(), sw, in_b.data(), y.data(), sy, code.data()};
        reference ? reference_forward(f) : forward(f, kThreads);
        code.freeze();
        const BackwardArgs<T> back{p,           in_g.data(), sg, in_x.data(), sx, in_w.data(), sw,
                                   code.data(), gx.data(),   sx, gw.data(),   sw, gb.data()};
        reference ? reference_backward(back) : backward(back, kThreads);
        return Results{y.values(), gx.values(), gw.values(), gb.values(), code.values()};
    };
    thread_count = 1;
    describe(p, dtype);
    const Results expected = run(true, Placement::kHeap);
    for (const std::string& isa : available_isas()) {
        set_isa(isa);
        for (Placement at : {Placement::kHeap, Placement::kStartsAtGuard, Placement::kEndsAtGuard}) {
            thread_count = one_of({1, 2, 3, 4, 8});
            describe(p, dtype);
            const Results got = run(false, at);
            require(got.y == expected.y, "output");
            require(got.code == expected.code, "code");
            require(got.gx == expected.gx, "input gradient");
            require(got.gw == expected.gw, "weight gradient");
            require(got.gb == expected.gb, "bias gradient");
        }
    }
}

template <typename Error>
void expect(const ConvPoolSizes& sizes, const char* what) {
    try {
        make_conv_pool(sizes);
    } catch (const Error& error) {
        if (std::string(error.what()).find(what) != std::string::npos) return;
        std::fprintf(stderr, "expected a message with '%s', got '%s'\n", what, error.what());
        std::exit(1);
    }
    std::fprintf(stderr, "expected an error with '%s'\n", what);
    std::exit(1);
}

void check_refusals() {
    const ConvPoolSizes good{1, 1, 9, 9, 1, 3, 3, 1, 1, 0, 0, 2, 2, 2, 2, true};
    const auto with = [&](int64_t ConvPoolSizes::* field, int64_t value) {
        ConvPoolSizes sizes = good;
        sizes.*field = value;
        return sizes;
    };
    make_conv_pool(good);
    expect<std::invalid_argument>(with(&ConvPoolSizes::kh, 8), "kernel height must be between 1 and 7, got 8");
    expect<std::invalid_argument>(with(&ConvPoolSizes::stride_w, 3), "stride must be 1 or 2, got 3");
    expect<std::invalid_argument>(with(&ConvPoolSizes::pad_h, 3), "padding must be smaller than the kernel, got 3");
    expect<std::invalid_argument>(with(&ConvPoolSizes::h, 2), "pooled output must not be empty");
    expect<std::invalid_argument>(with(&ConvPoolSizes::pool_h, 0), "pool height must be positive, got 0");
    expect<std::invalid_argument>(with(&ConvPoolSizes::h, int64_t{1} << 31), "less than 2^31");
    expect<std::length_error>(with(&ConvPoolSizes::n, int64_t{1} << 60), "do not fit");
    try {
        set_isa("avx9000");
        std::exit(1);
    } catch (const std::invalid_argument&) {
    }
}

}  // namespace

int main(int argc, char** argv) {
    const int problems = argc > 1 ? std::atoi(argv[1]) : 200;
    for (int signal : {SIGSEGV, SIGBUS}) std::signal(signal, on_crash);
    check_refusals();
    for (int i = 0; i < problems; ++i) {
        check_against_reference<float>("float32");
        check_against_reference<double>("float64");
        check_against_reference<bfloat16>("bfloat16");
    }
    std::printf("%d problems agree on", 3 * problems);
    for (const std::string& isa : available_isas()) std::printf(" %s", isa.c_str());
    std::printf("\n");
}
