// The kernels without torch, on every instruction set and several thread counts, judged in four ways:
// - small integers and non-finite numbers among them against the reference, to the bit: sums of integers are exact;
// - real numbers against float64, within the rounding of the sums they come from, and bitwise alike for any threads;
// - every buffer is exactly as large as it has to be and lies where an access beyond it is noticed (buffer.h,
//   scratch_memory.cpp); a crash names the problem that was being computed;
// - sizes beyond the kernels' limits are refused, and bfloat16 rounds to the nearest.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "block_case.h"
#include "core/code.h"
#include "core/geometry.h"
#include "core/isa.h"
#include "core/muon.h"

namespace {

using namespace mnist_fast;

constexpr Placement kPlacements[] = {Placement::kHeap, Placement::kStartsAtGuard, Placement::kEndsAtGuard};

// What is being computed, spelt out beforehand: a signal handler may not do it.
char current[512];

void describe(const ConvPool& p, const char* dtype) {
    std::snprintf(current, sizeof current,
                  "%s on %s with %ld threads: n=%ld c=%ld h=%ld w=%ld o=%ld kernel %ldx%ld stride %ld,%ld padding "
                  "%ld,%ld pool %ldx%ld by %ld,%ld relu=%d\n",
                  dtype, active_isa().c_str(), thread_count, p.n, p.c, p.h, p.w, p.o, p.kh, p.kw, p.stride_h,
                  p.stride_w, p.pad_h, p.pad_w, p.pool_h, p.pool_w, p.pool_stride_h, p.pool_stride_w, p.relu);
}

void on_crash(int signal) {
    const char* const what = signal == SIGABRT ? "aborted: " : "access beyond a buffer: ";
    const bool said =
        write(STDERR_FILENO, what, std::strlen(what)) > 0 && write(STDERR_FILENO, current, std::strlen(current)) > 0;
    _exit(said ? 1 : 2);
}

void require(bool condition, const char* what) {
    if (condition) return;
    std::fprintf(stderr, "%s: %s", what, current);
    std::exit(1);
}

// --- exact: integers ------------------------------------------------------------------------------------------------

template <typename T>
std::vector<T> integers(int64_t size, int64_t bound) {
    std::vector<T> values(static_cast<size_t>(size));
    for (T& value : values) value = T(static_cast<float>(draw(-bound, bound)));
    return values;
}

template <typename T>
void set_some(std::vector<T>& values) {
    const float special = draw(0, 2) == 0   ? std::numeric_limits<float>::quiet_NaN()
                          : draw(0, 1) == 0 ? std::numeric_limits<float>::infinity()
                                            : -std::numeric_limits<float>::infinity();
    const int64_t last = static_cast<int64_t>(values.size()) - 1;
    if (last < 0) return;
    values[static_cast<size_t>(one_of({0, last, draw(0, last)}))] = T(special);
    values[static_cast<size_t>(draw(0, last))] = T(special);
}

// Gradients that ReLU blocks are not multiplied by zero, they are not looked at.
template <typename T>
void spoil_blocked_gradients(BlockCase<T>& k, const std::vector<uint8_t>& code) {
    const Strides& s = k.g_layout.strides;
    for (int64_t n = 0; n < k.p.n; ++n)
        for (int64_t y = 0; y < k.p.out_h; ++y)
            for (int64_t x = 0; x < k.p.out_w; ++x)
                for (int64_t o = 0; o < k.p.o; ++o)
                    if (read_code(k.p, code.data(), n, y, x, o) == kDead)
                        k.g[static_cast<size_t>(n * s.n + o * s.c + y * s.h + x * s.w)] =
                            T(std::numeric_limits<float>::infinity());
}

template <typename T>
bool same(T a, T b) {
    return a == b || (a != a && b != b);
}

// `spreads`: a kernel may multiply a non-finite number with zeros that the reference leaves out.
template <typename T>
void compare(const std::vector<T>& got, const std::vector<T>& expected, bool spreads, const char* what) {
    bool equal = got.size() == expected.size();
    for (size_t i = 0; equal && i < got.size(); ++i)
        equal = same(got[i], expected[i]) || (spreads && !std::isfinite(static_cast<double>(got[i])));
    require(equal, what);
}

template <typename T>
void check_integers(const char* dtype) {
    BlockCase<T> k(random_problem(3000000), any_view);
    k.x = integers<T>(k.x_layout.size, 4);
    k.w = integers<T>(k.w_layout.size, 2);
    k.b = integers<T>(draw(0, 3) ? k.p.o : 0, 8);
    k.g = integers<T>(k.g_layout.size, 2);
    if (draw(0, 3) == 0) k.wants_gx = draw(0, 1), k.wants_gw = draw(0, 1), k.wants_gb = draw(0, 1);

    enum { kNone, kInput, kWeight, kBias, kGradOutput };
    const bool padded = k.p.pad_h || k.p.pad_w;
    int64_t special = draw(0, 1) ? int64_t{kNone} : draw(kInput, kGradOutput);
    if (padded && special == kWeight) special = kNone;  // the kernels multiply the padding's zeros, the reference skips
    if (special == kInput) set_some(k.x);
    if (special == kWeight) set_some(k.w);
    if (special == kBias) set_some(k.b);
    if (special == kGradOutput) set_some(k.g);

    thread_count = 1;
    describe(k.p, dtype);
    const Outputs<T> y = k.forward(true, Placement::kHeap);
    if (!k.g_layout.overlaps && draw(0, 1)) spoil_blocked_gradients(k, y.code);
    const Gradients<T> g = k.backward(y.code, true, Placement::kHeap);
    const bool gx_spreads = special == kWeight && std::is_same_v<T, bfloat16>;  // pairs are filled up with zeros
    const bool gw_spreads = special == kInput || (special == kGradOutput && padded);
    for (const std::string& isa : available_isas()) {
        set_isa(isa);
        for (Placement at : kPlacements) {
            thread_count = one_of({1, 2, 3, 4, 8});
            set_winograd(draw(0, 3));
            describe(k.p, dtype);
            const Outputs<T> got_y = k.forward(false, at);
            compare(got_y.y, y.y, false, "output differs");
            require(got_y.code == y.code, "code differs");
            if (!k.wants_gradients()) continue;
            const Gradients<T> got = k.backward(y.code, false, at);
            compare(got.x, g.x, gx_spreads, "input gradient differs");
            compare(got.w, g.w, gw_spreads, "weight gradient differs");
            compare(got.b, g.b, false, "bias gradient differs");
        }
    }
}

// --- real numbers ---------------------------------------------------------------------------------------------------

template <typename T>
std::vector<T> normals(int64_t size) {
    std::normal_distribution<float> normal;
    std::vector<T> values(static_cast<size_t>(size));
    for (T& value : values) value = T(normal(random_bits));
    return values;
}

template <typename T>
std::vector<double> in_double(const std::vector<T>& values) {
    return {values.begin(), values.end()};
}

template <typename T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

// The error of each result is within 16 roundings of the sum of absolute products behind it, and the one of storing it.
template <typename T>
void require_close(const std::vector<T>& got, const std::vector<double>& exact, const std::vector<double>& magnitude,
                   const char* what) {
    const double unit = std::numeric_limits<Compute<T>>::epsilon() / 2,
                 stored = std::is_same_v<T, bfloat16> ? 0x1p-8 : 0;
    bool close = true;
    for (size_t i = 0; i < got.size(); ++i)
        close &= std::fabs(static_cast<double>(got[i]) - exact[i]) <=
                 16 * unit * std::fabs(magnitude[i]) + stored * std::fabs(exact[i]);
    require(close, what);
}

template <typename T>
void check_normals(const char* dtype) {
    // No expanded views: the roundings of equal numbers do not cancel.
    BlockCase<T> k(random_problem(200000), any_layout);
    k.x = normals<T>(k.x_layout.size);
    k.w = normals<T>(k.w_layout.size);
    k.b = normals<T>(k.p.o);
    k.g = normals<T>(k.g_layout.size);

    BlockCase<double> wide(k.p, any_layout);
    wide.x_layout = k.x_layout, wide.w_layout = k.w_layout, wide.y_layout = k.y_layout;
    wide.g_layout = k.g_layout, wide.gx_layout = k.gx_layout, wide.gw_layout = k.gw_layout;
    wide.x = in_double(k.x), wide.w = in_double(k.w), wide.b = in_double(k.b), wide.g = in_double(k.g);
    BlockCase<double> absolute = wide;
    absolute.p.relu = false;
    for (std::vector<double>* operand : {&absolute.x, &absolute.w, &absolute.b, &absolute.g})
        for (double& value : *operand) value = std::fabs(value);
    const Outputs<double> exact_y = wide.forward(true, Placement::kHeap);
    const Outputs<double> magnitude_y = absolute.forward(true, Placement::kHeap);

    for (const std::string& isa : available_isas()) {
        set_isa(isa);
        set_winograd(draw(0, 3));
        thread_count = 1;
        describe(k.p, dtype);
        const Outputs<T> y = k.forward(false, Placement::kHeap);
        const Gradients<T> g = k.backward(y.code, false, Placement::kHeap);
        require_close(y.y, exact_y.y, magnitude_y.y, "output is inaccurate");
        // Of nearly equal positions rounding decides which wins: the gradients follow the kernel's own.
        const Gradients<double> exact = wide.backward(y.code, true, Placement::kHeap);
        const Gradients<double> magnitude = absolute.backward(y.code, true, Placement::kHeap);
        require_close(g.x, exact.x, magnitude.x, "input gradient is inaccurate");
        require_close(g.w, exact.w, magnitude.w, "weight gradient is inaccurate");
        require_close(g.b, exact.b, magnitude.b, "bias gradient is inaccurate");
        for (int64_t count : {2, 3, 4, 8}) {
            thread_count = count;
            describe(k.p, dtype);
            const Outputs<T> again = k.forward(false, Placement::kHeap);
            require(same_bits(again.y, y.y) && again.code == y.code, "output depends on the threads");
            const Gradients<T> again_g = k.backward(y.code, false, Placement::kHeap);
            require(same_bits(again_g.x, g.x), "input gradient depends on the threads");
            require(same_bits(again_g.w, g.w), "weight gradient depends on the threads");
            require(same_bits(again_g.b, g.b), "bias gradient depends on the threads");
        }
    }
}

// --- Muon -----------------------------------------------------------------------------------------------------------

// The formula in float64, product by product.
void exact_muon(int64_t rows, int64_t columns, std::vector<double>& parameter, std::vector<double>& buffer,
                const std::vector<double>& gradient, double rate, double momentum, double decay, int64_t steps) {
    std::vector<double> x(parameter.size());
    double square = 0;
    for (size_t i = 0; i < x.size(); ++i) {
        buffer[i] = momentum * buffer[i] + gradient[i];
        x[i] = gradient[i] + momentum * buffer[i];
        square += x[i] * x[i];
    }
    for (double& value : x) value /= std::sqrt(square) + 1e-7;
    const auto times_gram = [&](const std::vector<double>& matrix) {
        std::vector<double> gram(rows * rows), product(matrix.size());
        for (int64_t i = 0; i < rows; ++i)
            for (int64_t j = 0; j < rows; ++j)
                for (int64_t k = 0; k < columns; ++k) gram[i * rows + j] += x[i * columns + k] * x[j * columns + k];
        for (int64_t i = 0; i < rows; ++i)
            for (int64_t k = 0; k < rows; ++k)
                for (int64_t j = 0; j < columns; ++j)
                    product[i * columns + j] += gram[i * rows + k] * matrix[k * columns + j];
        return product;
    };
    for (int64_t step = 0; step < steps; ++step) {
        const std::vector<double> cubic = times_gram(x), quintic = times_gram(cubic);
        for (size_t i = 0; i < x.size(); ++i) x[i] = 3.4445 * x[i] - 4.7750 * cubic[i] + 2.0315 * quintic[i];
    }
    const double scale = rate * std::sqrt(std::max(1.0, static_cast<double>(rows) / columns));
    for (size_t i = 0; i < x.size(); ++i) parameter[i] = (1 - rate * decay) * parameter[i] - scale * x[i];
}

void check_muon() {
    const int64_t rows = draw(1, 40), columns = draw(1, 80), steps = draw(1, 5);
    const std::vector<float> w = normals<float>(rows * columns), m = normals<float>(rows * columns),
                             g = normals<float>(rows * columns);
    std::vector<double> expected = in_double(w), expected_m = in_double(m);
    exact_muon(rows, columns, expected, expected_m, in_double(g), 0.5, 0.85, 0.1, steps);
    const Placement placement = kPlacements[draw(0, 2)];
    Buffer<float> gradient(g, placement);
    gradient.freeze();
    for (const std::string& isa : available_isas()) {
        set_isa(isa);
        std::snprintf(current, sizeof current, "muon on %s: %ld x %ld, %ld steps\n", isa.c_str(), rows, columns, steps);
        Buffer<float> parameter(w, placement), buffer(m, placement);
        muon({rows, columns, parameter.data(), buffer.data(), gradient.data(), 0.5, 0.85, 0.1, steps});
        const std::vector<float> got = parameter.values(), got_m = buffer.values();
        bool close = true;
        for (size_t i = 0; i < got.size(); ++i)
            close &= std::fabs(got_m[i] - expected_m[i]) <= 1e-6 && std::fabs(got[i] - expected[i]) <= 2e-4;
        require(close, "the update is inaccurate");
    }
}

// --- bfloat16 -------------------------------------------------------------------------------------------------------

// Every bfloat16 comes back unchanged, and between each two of one sign, what lies in the lower half goes down, what
// lies in the upper half up, and the middle to the one whose last bit is 0.
void check_bfloat16() {
    for (uint32_t high = 0; high < 0x10000; ++high)
        for (uint32_t low : {0x0000u, 0x0001u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
            const uint32_t bits = high << 16 | low;
            float value;
            std::memcpy(&value, &bits, sizeof value);
            const bfloat16 got(value);
            std::snprintf(current, sizeof current, "of the float with bits %08x: %04x\n", bits, got.bits);
            if (std::isnan(value)) {
                require(std::isnan(static_cast<float>(got)), "bfloat16 lost the NaN");
                continue;
            }
            const bool up = low > 0x8000 || (low == 0x8000 && high % 2 == 1);
            require(got.bits == high + up, "wrong bfloat16");
            const uint32_t back = static_cast<uint32_t>(got.bits) << 16;
            const float widened = got;
            require(std::memcmp(&widened, &back, sizeof widened) == 0, "wrong float from the bfloat16");
        }
}

// --- two calls in turn ----------------------------------------------------------------------------------------------

// A pool that several callers share may give a thread a piece of one call between two pieces of another.
void check_calls_in_turn() {
    static const ConvPool p = make_conv_pool({3, 4, 8, 8, 16, 3, 3, 1, 1, 0, 0, 2, 2, 2, 2, true});
    static const Strides x_strides = contiguous(p.c, p.h, p.w), w_strides = contiguous(p.c, p.kh, p.kw),
                         y_strides = contiguous(p.o, p.out_h, p.out_w);
    const auto of = [](int64_t count, float value) { return std::vector<float>(static_cast<size_t>(count), value); };
    static const std::vector<float> x = of(p.n * x_strides.n, 1), other_w = of(p.o * w_strides.n, 3);
    static const std::vector<uint8_t> winners(static_cast<size_t>(p.n * p.out_h * p.code_row()));
    static std::vector<float> g = of(p.n * y_strides.n, 1), gx = of(p.n * x_strides.n, 0);
    const std::vector<float> w = of(p.o * w_strides.n, 2);
    std::vector<float> y = of(p.n * y_strides.n, 0);
    const Parallel in_turn{[](int64_t count, void (*body)(void*, int64_t, int64_t), void* context) {
        for (int64_t i = 0; i < count; ++i) {
            body(context, i, i + 1);
            backward<float>({p, g.data(), y_strides, x.data(), x_strides, other_w.data(), w_strides, winners.data(),
                             gx.data(), x_strides, nullptr, w_strides, nullptr},
                            kThreads);
        }
    }};
    forward<float>({p, x.data(), x_strides, w.data(), w_strides, nullptr, y.data(), y_strides, nullptr}, in_turn);
    std::snprintf(current, sizeof current, "of a call between whose pieces another one ran\n");
    compare(y, of(p.n * y_strides.n, 2.0f * 9 * 4), false, "wrong output");
}

// --- refusals -------------------------------------------------------------------------------------------------------

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
    using Sizes = ConvPoolSizes;
    const Sizes good{1, 1, 9, 9, 1, 3, 3, 1, 1, 0, 0, 2, 2, 2, 2, true};
    const auto with = [&](int64_t Sizes::* field, int64_t value) {
        Sizes sizes = good;
        sizes.*field = value;
        return sizes;
    };
    using Invalid = std::invalid_argument;
    const ConvPool p = make_conv_pool(good);
    std::snprintf(current, sizeof current, "%ld x %ld\n", p.out_h, p.out_w);
    require(p.out_h == 3 && p.out_w == 3, "wrong output size");
    expect<Invalid>(with(&Sizes::n, -1), "batch size must not be negative, got -1");
    for (auto [field, message] : {std::pair(&Sizes::c, "input channels must be positive, got 0"),
                                  std::pair(&Sizes::o, "output channels must be positive, got 0"),
                                  std::pair(&Sizes::h, "input height must be positive, got 0"),
                                  std::pair(&Sizes::w, "input width must be positive, got 0"),
                                  std::pair(&Sizes::pool_h, "pool height must be positive, got 0"),
                                  std::pair(&Sizes::pool_w, "pool width must be positive, got 0"),
                                  std::pair(&Sizes::pool_stride_h, "pool stride must be positive, got 0"),
                                  std::pair(&Sizes::pool_stride_w, "pool stride must be positive, got 0")})
        expect<Invalid>(with(field, 0), message);
    for (int64_t kernel : {0, 8}) {
        expect<Invalid>(with(&Sizes::kh, kernel), "kernel height must be between 1 and 7, got");
        expect<Invalid>(with(&Sizes::kw, kernel), "kernel width must be between 1 and 7, got");
    }
    for (int64_t stride : {0, 3})
        for (auto field : {&Sizes::stride_h, &Sizes::stride_w})
            expect<Invalid>(with(field, stride), "stride must be 1 or 2, got");
    for (int64_t pad : {-1, 3})
        for (auto field : {&Sizes::pad_h, &Sizes::pad_w})
            expect<Invalid>(with(field, pad), "padding must be smaller than the kernel, got");
    expect<Invalid>(with(&Sizes::h, 2), "pooled output must not be empty; its height, got 0");
    expect<Invalid>(with(&Sizes::w, 2), "pooled output must not be empty; its width, got 0");
    expect<Invalid>(with(&Sizes::h, 3), "pooled output must not be empty; its height, got 0");

    // The code of a position is a byte, and one of its values means that there is none.
    Sizes window = good;
    window.h = window.w = 40, window.pool_h = 15, window.pool_w = 17;
    make_conv_pool(window);
    window.pool_h = 16, window.pool_w = 16;
    expect<Invalid>(window, "at most 255 positions");

    expect<Invalid>(with(&Sizes::h, int64_t{1} << 31), "a sample's elements must number less than 2^31");
    expect<Invalid>(with(&Sizes::c, int64_t{1} << 24), "a sample's elements must number less than 2^31");
    make_conv_pool(with(&Sizes::o, INT32_MAX / 57));  // three rows of 3 + 16
    expect<Invalid>(with(&Sizes::o, INT32_MAX / 57 + 1), "the weight's elements must number less than 2^31");
    expect<std::length_error>(with(&Sizes::n, int64_t{1} << 60), "do not fit");
    Sizes output = with(&Sizes::n, int64_t{1} << 50);  // the input fits, the output does not
    output.o = 1 << 20;
    expect<std::length_error>(output, "do not fit");
    try {
        set_isa("avx9000");
        std::fprintf(stderr, "expected an error for an unknown instruction set\n");
        std::exit(1);
    } catch (const std::invalid_argument&) {
    }
}

}  // namespace

int main(int argc, char** argv) {
    const int problems = argc > 1 ? std::atoi(argv[1]) : 200;
    for (int signal : {SIGSEGV, SIGBUS, SIGABRT}) std::signal(signal, on_crash);
    check_calls_in_turn();
    check_refusals();
    check_bfloat16();
    for (int i = 0; i < problems; ++i) {
        check_integers<float>("float32");
        check_integers<double>("float64");
        check_integers<bfloat16>("bfloat16");
        check_normals<float>("float32");
        check_normals<double>("float64");
        check_normals<bfloat16>("bfloat16");
        check_muon();
    }
    std::printf("%d problems agree on", 3 * problems);
    for (const std::string& isa : available_isas()) std::printf(" %s", isa.c_str());
    std::printf("\n");
}
