// The CUDA kernels on the CPU against the reference. Reads problems from standard input, one on a line (parse()), runs
// each under the schedules that the arguments name, and says how many agree; stops at the first that does not, with
// exit code 1. The argument failing-launch=N lets the launch after N others fail; tensor-cores sends small layers, too,
// to the tensor cores' kernels.
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <sstream>

#include "cuda/plan.h"
#include "simt/block_case.h"

namespace mnist_fast {
namespace {

struct Finding : std::runtime_error {
    using std::runtime_error::runtime_error;
};

bool same(double a, double b) { return a == b || (a != a && b != b); }

void compare_exactly(const char* name, const std::vector<double>& got, const std::vector<double>& expected) {
    for (size_t i = 0; i < got.size(); ++i)
        if (!same(got[i], expected[i]))
            throw Finding(std::string(name) + "[" + std::to_string(i) + "] is " + std::to_string(got[i]) +
                          ", expected " + std::to_string(expected[i]));
}

template <typename T>
std::vector<double> rounded(std::vector<double> values) {
    for (double& value : values) value = widen(narrow<T>(value));
    return values;
}

void compare_within(const char* name, const Bounds& bounds, const std::vector<double>& got,
                    const std::vector<double>& expected, const std::vector<double>& products) {
    for (size_t i = 0; i < got.size(); ++i) {
        const double allowed =
            bounds.result * std::max(std::abs(expected[i]), bounds.smallest_normal) + bounds.products * products[i];
        if (!(std::abs(got[i] - expected[i]) <= allowed))
            throw Finding(std::string(name) + "[" + std::to_string(i) + "] is " + std::to_string(got[i]) +
                          ", expected " + std::to_string(expected[i]) + " to within " + std::to_string(allowed));
    }
}

template <typename T>
void check(const BlockCase<T>& block, Operands operands, const std::vector<simt::Schedule>& schedules) {
    using Results = typename BlockCase<T>::Results;
    simt::schedule = schedules.front();
    const Results got = block.run();
    const Results expected = block.reference(got.code, false);
    if (operands == Operands::kNormals) {
        const Results products = block.reference(got.code, true);
        compare_within("y", block.bounds, got.y, expected.y, products.y);
        compare_within("grad_x", block.bounds, got.gx, expected.gx, products.gx);
        compare_within("grad_w", block.bounds, got.gw, expected.gw, products.gw);
        compare_within("grad_b", block.bounds, got.gb, expected.gb, products.gb);
    } else {
        compare_exactly("y", got.y, rounded<T>(expected.y));
        if (got.code != expected.code) throw Finding("the codes differ");
    }
    if (operands == Operands::kIntegers) {
        compare_exactly("grad_x", got.gx, rounded<T>(expected.gx));
        compare_exactly("grad_w", got.gw, rounded<T>(expected.gw));
        compare_exactly("grad_b", got.gb, rounded<T>(expected.gb));
    }
    for (size_t i = 1; i < schedules.size(); ++i) {
        simt::schedule = schedules[i];
        const Results again = block.run();
        compare_exactly("y under another schedule", again.y, got.y);
        compare_exactly("grad_x under another schedule", again.gx, got.gx);
        compare_exactly("grad_w under another schedule", again.gw, got.gw);
        compare_exactly("grad_b under another schedule", again.gb, got.gb);
        if (again.code != got.code) throw Finding("the codes differ under another schedule");
    }
}

std::vector<simt::Schedule> parse_schedules(int count, char** names) {
    std::vector<simt::Schedule> schedules;
    for (int i = 0; i < count; ++i) {
        const std::string name = names[i];
        if (name == "in-order")
            schedules.push_back(simt::Schedule::kInOrder);
        else if (name == "reversed")
            schedules.push_back(simt::Schedule::kReversed);
        else if (name == "random")
            schedules.push_back(simt::Schedule::kRandom);
        else if (name == "starve")
            schedules.push_back(simt::Schedule::kStarve);
        else if (name.rfind("failing-launch=", 0) == 0)
            simt::launches_until_one_fails = std::stoi(name.substr(name.find('=') + 1));
        else if (name == "tensor-cores")
            cuda::set_direct(false);
        else
            throw std::invalid_argument("schedules are in-order, reversed, random, starve; got " + name);
    }
    if (schedules.empty()) throw std::invalid_argument("name at least one schedule");
    return schedules;
}

// Those that a problem goes to.
enum class Kernels { kNone, kDirect, kTensorCores };

// ARITHMETIC OPERANDS LAYOUT MULTIPROCESSORS bias n c h w o kh kw stride_h stride_w pad_h pad_w pool_h pool_w
// pool_stride_h pool_stride_w relu.
Kernels run_line(const std::string& line, int number, const std::vector<simt::Schedule>& schedules) {
    std::istringstream in(line);
    std::string arithmetic, operands_name, layout;
    ConvPoolSizes s{};
    bool bias = false;
    in >> arithmetic >> operands_name >> layout >> simt::multiprocessors >> bias >> s.n >> s.c >> s.h >> s.w >> s.o >>
        s.kh >> s.kw >> s.stride_h >> s.stride_w >> s.pad_h >> s.pad_w >> s.pool_h >> s.pool_w >> s.pool_stride_h >>
        s.pool_stride_w >> s.relu;
    if (!in) throw std::invalid_argument("not a problem");
    const ConvPool p = make_conv_pool(s);
    const bool is_half = arithmetic == "bfloat16" || arithmetic == "float16";
    if (cuda::why_not_covered(p, is_half ? 2 : 4)) return Kernels::kNone;

    const Operands operands = operands_name == "integers"  ? Operands::kIntegers
                              : operands_name == "normals" ? Operands::kNormals
                                                           : Operands::kNonfinite;
    const Placement at = number % 2 ? Placement::kStartsAtGuard : Placement::kEndsAtGuard;
    const auto run = [&](auto element) {
        using T = decltype(element);
        const cuda::Float32 float32 = arithmetic == "tf32" ? cuda::Float32::kTf32 : cuda::Float32::kFull;
        const BlockCase<T> block(p, float32, operands, bias, layout == "channels_last", layout == "views", at);
        check(block, operands, schedules);
    };
    if (arithmetic == "bfloat16")
        run(bfloat16{});
    else if (arithmetic == "float16")
        run(float16{});
    else
        run(float{});
    return cuda::is_direct(p) ? Kernels::kDirect : Kernels::kTensorCores;
}

}  // namespace
}  // namespace mnist_fast

int main(int argc, char** argv) {
    std::string line;
    int number = 0, direct = 0, uncovered = 0;
    int other_than_the_default = 0;
    simt::stream = reinterpret_cast<cudaStream_t>(&other_than_the_default);
    try {
        const auto schedules = mnist_fast::parse_schedules(argc - 1, argv + 1);
        for (; std::getline(std::cin, line); ++number) {
            const mnist_fast::Kernels kernels = mnist_fast::run_line(line, number, schedules);
            direct += kernels == mnist_fast::Kernels::kDirect;
            uncovered += kernels == mnist_fast::Kernels::kNone;
        }
    } catch (const std::exception& error) {
        std::fprintf(stderr, "error: %s: %s\n", line.c_str(), error.what());
        return 1;
    }
    std::printf("%d problems agree, %d are not covered, %d are direct\n", number - uncovered, uncovered, direct);
    return 0;
}
