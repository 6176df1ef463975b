#include "report.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <map>
#include <thread>

namespace native_bench {
namespace {

[[gnu::format(printf, 1, 2)]] std::string format(const char* pattern, ...) {
    char text[512];
    va_list values;
    va_start(values, pattern);
    std::vsnprintf(text, sizeof text, pattern, values);
    va_end(values);
    return text;
}

// As Linux gives it, with family and model: virtual machines may hide the rest.
std::string processor() {
    std::map<std::string, std::string> facts;
    std::ifstream cpuinfo("/proc/cpuinfo");
    for (std::string line; std::getline(cpuinfo, line);) {
        const size_t colon = line.find(':');
        if (colon == std::string::npos || colon + 2 > line.size()) continue;
        facts.emplace(line.substr(0, line.find_last_not_of(" \t", colon - 1) + 1), line.substr(colon + 2));
    }
    if (!facts.count("model name")) return "unknown";
    return facts["model name"] + " (family " + facts["cpu family"] + " model " + facts["model"] + ")";
}

std::string now() {
    const std::time_t seconds = std::time(nullptr);
    char text[32];
    std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S+00:00", std::gmtime(&seconds));
    return text;
}

// Of the minute before: whether the machine was busy.
double load_average() {
    double average = 0;
    getloadavg(&average, 1);
    return average;
}

const char* compiler() {
#if defined(__clang__)
    return "clang " __clang_version__;
#else
    return "gcc " __VERSION__;
#endif
}

}  // namespace

std::string to_table(const Report& report) {
    const Options& o = report.options;
    std::string text = format("%s, %s\n", processor().c_str(), compiler());
    text += format("%s, %s, %s, batch %ld, threads %ld, rounds %ld\n\n", o.isa.c_str(), o.dtype.c_str(),
                   o.memory_format.c_str(), o.batch_size, o.threads, o.rounds);

    text += format("%-10s %-10s %9s\n", "peak of", "dtype", "GFLOP/s");
    for (const PeakResult& peak : report.peaks)
        text += format("%-10s %-10s %9.1f\n", peak.isa.c_str(), peak.dtype.c_str(), peak.gflops);

    text += format("\n%-18s %-16s %9s %9s %7s %8s\n", "block", "kernel", "ms", "GFLOP/s", "% peak", "% alive");
    for (const KernelResult& k : report.kernels)
        text += format("%-18s %-16s %9.4f %9.1f %7.1f %8.1f\n", k.block.c_str(), k.kernel.c_str(),
                       1e3 * k.timings.median, k.gflops, 100 * k.peak_share, 100 * k.alive_share);
    return text;
}

std::string to_json(const Report& report) {
    const Options& o = report.options;
    std::string text = format(
        "{\"environment\": {\"date\": \"%s\", \"cpu\": \"%s\", \"cores\": %u, \"load_average\": %.2f, \"compiler\": "
        "\"%s\"},\n"
        " \"options\": {\"isa\": \"%s\", \"dtype\": \"%s\", \"memory_format\": \"%s\", \"batch_size\": %ld, "
        "\"threads\": %ld, \"rounds\": %ld, \"sample_ms\": %g},\n",
        now().c_str(), processor().c_str(), std::thread::hardware_concurrency(), load_average(), compiler(),
        o.isa.c_str(), o.dtype.c_str(), o.memory_format.c_str(), o.batch_size, o.threads, o.rounds, o.sample_ms);
    const char* separator = " \"peaks\": [\n";
    for (const PeakResult& peak : report.peaks) {
        text += format("%s  {\"isa\": \"%s\", \"dtype\": \"%s\", \"gflops\": %.2f}", separator, peak.isa.c_str(),
                       peak.dtype.c_str(), peak.gflops);
        separator = ",\n";
    }
    separator = "],\n \"results\": [\n";
    for (const KernelResult& k : report.kernels) {
        text += format(
            "%s  {\"block\": \"%s\", \"kernel\": \"%s\", \"median_ms\": %.6f, \"p5_ms\": %.6f, \"p95_ms\": %.6f, "
            "\"flops\": %.0f, \"gflops\": %.2f, \"peak_share\": %.4f, \"alive_share\": %.4f}",
            separator, k.block.c_str(), k.kernel.c_str(), 1e3 * k.timings.median, 1e3 * k.timings.p5,
            1e3 * k.timings.p95, k.flops, k.gflops, k.peak_share, k.alive_share);
        separator = ",\n";
    }
    return text + "]}\n";
}

}  // namespace native_bench
