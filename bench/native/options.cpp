#include "options.h"

#include <charconv>
#include <cstring>
#include <stdexcept>

namespace native_bench {
namespace {

template <typename Number>
void parse_positive(const std::string& name, const char* text, Number& value) {
    const char* const end = text + std::strlen(text);
    const auto [stop, error] = std::from_chars(text, end, value);
    if (error != std::errc{} || stop != end || value <= 0)
        throw std::invalid_argument(name + " takes a positive number, got '" + text + "'");
}

}  // namespace

const char* const kUsage =
    "Measures the CPU kernels against the machine's peak of fused multiply-adds.\n"
    "  --blocks TEXT          only blocks whose name contains TEXT, such as cnn.conv2\n"
    "  --batch-size N         images in a batch (64)\n"
    "  --threads N            (1)\n"
    "  --isa NAME             instruction set (the best that the machine has)\n"
    "  --dtype NAME           float32 or float64 (float32)\n"
    "  --memory-format NAME   channels_last or contiguous (channels_last)\n"
    "  --rounds N             samples of each kernel (15)\n"
    "  --sample-ms X          least milliseconds of a sample (5)\n"
    "  --json FILE            write the results to FILE, too\n";

Options parse_options(int argc, char** argv) {
    Options options;
    for (int i = 1; i < argc; i += 2) {
        const std::string name = argv[i];
        if (i + 1 == argc)
            throw std::invalid_argument("'" + name + "' is no option, or its value is missing; see --help");
        const char* const value = argv[i + 1];
        if (name == "--blocks")
            options.blocks = value;
        else if (name == "--batch-size")
            parse_positive(name, value, options.batch_size);
        else if (name == "--threads")
            parse_positive(name, value, options.threads);
        else if (name == "--isa")
            options.isa = value;
        else if (name == "--dtype")
            options.dtype = value;
        else if (name == "--memory-format")
            options.memory_format = value;
        else if (name == "--rounds")
            parse_positive(name, value, options.rounds);
        else if (name == "--sample-ms")
            parse_positive(name, value, options.sample_ms);
        else if (name == "--json")
            options.json = value;
        else
            throw std::invalid_argument("no option '" + name + "'; see --help");
    }
    if (options.memory_format != "channels_last" && options.memory_format != "contiguous")
        throw std::invalid_argument("--memory-format is channels_last or contiguous, got '" + options.memory_format +
                                    "'");
    return options;
}

}  // namespace native_bench
