// Measures the CPU kernels of the reference networks' blocks against the machine's peak; see ../README.md.
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <functional>
#include <stdexcept>

#include "core/bfloat16.h"
#include "core/isa.h"
#include "kernels.h"
#include "options.h"
#include "peak.h"
#include "report.h"
#include "threads.h"
#include "timing.h"

namespace {

using namespace native_bench;

std::vector<Kernel> kernels_of(const Options& options) {
    const bool channels_last = options.memory_format == "channels_last";
    if (options.dtype == "float32") return make_kernels<float>(options.batch_size, channels_last);
    if (options.dtype == "float64") return make_kernels<double>(options.batch_size, channels_last);
    if (options.dtype == "bfloat16") return make_kernels<mnist_fast::bfloat16>(options.batch_size, channels_last);
    throw std::invalid_argument("--dtype is float32, float64 or bfloat16, got '" + options.dtype + "'");
}

constexpr int64_t kPeakSteps = 100000;  // a fraction of a millisecond

// On all threads at once: cores that share a clock or a unit do less than the sum of what each does alone.
std::function<void()> call_of(const Peak& peak, int64_t threads) {
    return [=] {
        auto body = [&](int64_t) { [[maybe_unused]] volatile double result = peak.run(kPeakSteps); };
        mnist_fast::parallel_for(kThreads, threads, body);
    };
}

// The peak of what the kernels compute with: "reference" is compiled for the baseline, and a type without arithmetic of
// its own is widened to float32.
double peak_gflops(const Report& report) {
    const std::string isa = report.options.isa == "reference" ? "scalar" : report.options.isa;
    double of_float32 = 0;
    for (const PeakResult& peak : report.peaks) {
        if (peak.isa == isa && peak.dtype == report.options.dtype) return peak.gflops;
        if (peak.isa == isa && peak.dtype == "float32") of_float32 = peak.gflops;
    }
    return of_float32;
}

Report measure(const Options& options) {
    if (!options.isa.empty()) mnist_fast::set_isa(options.isa);
    start_threads(options.threads);

    std::vector<Kernel> kernels = kernels_of(options);
    std::erase_if(kernels, [&](const Kernel& k) { return k.block.find(options.blocks) == std::string::npos; });
    if (kernels.empty()) throw std::invalid_argument("no block's name contains '" + options.blocks + "'");
    const std::vector<Peak> peaks = available_peaks();
    std::vector<std::function<void()>> calls;
    for (const Peak& peak : peaks) calls.push_back(call_of(peak, options.threads));
    for (const Kernel& kernel : kernels) calls.push_back(kernel.call);
    const std::vector<Timings> timings = time_interleaved(calls, options.rounds, options.sample_ms / 1000);

    Report report{options, {}, {}};
    report.options.isa = mnist_fast::active_isa();
    auto timing = timings.begin();
    for (const Peak& peak : peaks) {
        const auto flops = static_cast<double>(peak.flops * kPeakSteps * options.threads);
        report.peaks.push_back({peak.isa, peak.dtype, flops / timing++->median / 1e9});
    }
    const double peak = peak_gflops(report);
    for (const Kernel& kernel : kernels) {
        const double gflops = kernel.flops / timing->median / 1e9;
        report.kernels.push_back(
            {kernel.block, kernel.name, *timing++, kernel.flops, gflops, gflops / peak, kernel.alive_share});
    }
    return report;
}

}  // namespace

int main(int argc, char** argv) try {
    if (argc == 2 && std::strcmp(argv[1], "--help") == 0) {
        std::fputs(kUsage, stdout);
        return 0;
    }
    const Options options = parse_options(argc, argv);
    const Report report = measure(options);
    std::fputs(to_table(report).c_str(), stdout);
    if (!options.json.empty() && !(std::ofstream(options.json) << to_json(report)).flush())
        throw std::runtime_error("cannot write " + options.json);
    return 0;
} catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
}
