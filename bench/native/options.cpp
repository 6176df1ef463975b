#include "options.h"

#include <charconv>
#include <cstring>
#include <functional>
#include <map>
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
    "  --dtype NAME           float32, float64 or bfloat16 (float32)\n"
    "  --memory-format NAME   channels_last or contiguous (channels_last)\n"
    "  --rounds N             samples of each kernel (15)\n"
    "  --sample-ms X          least milliseconds of a sample (5)\n"
    "  --json FILE            write the results to FILE, too\n";

Options parse_options(int argc, char** argv) {
    Options options;
    const auto into = [](auto& field) { return [&field](const std::string&, const char* text) { field = text; }; };
    const auto positive = [](auto& field) {
        return [&field](const std::string& name, const char* text) { parse_positive(name, text, field); };
    };
    const std::map<std::string, std::function<void(const std::string&, const char*)>> setters{
        {"--blocks", into(options.blocks)},       {"--batch-size", positive(options.batch_size)},
        {"--threads", positive(options.threads)}, {"--isa", into(options.isa)},
        {"--dtype", into(options.dtype)},         {"--memory-format", into(options.memory_format)},
        {"--rounds", positive(options.rounds)},   {"--sample-ms", positive(options.sample_ms)},
        {"--json", into(options.json)},
    };
    for (int i = 1; i < argc; i += 2) {
        const auto setter = setters.find(argv[i]);
        if (setter == setters.end())
            throw std::invalid_argument(std::string("no option '") + argv[i] + "'; see --help");
        if (i + 1 == argc) throw std::invalid_argument(setter->first + " takes a value; see --help");
        setter->second(setter->first, argv[i + 1]);
    }
    if (options.memory_format != "channels_last" && options.memory_format != "contiguous")
        throw std::invalid_argument("--memory-format is channels_last or contiguous, got '" + options.memory_format +
                                    "'");
    return options;
}

}  // namespace native_bench
