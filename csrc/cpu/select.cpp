#include "cpu/select.h"

#include <atomic>
#include <stdexcept>

#include "core/isa.h"

namespace mnist_fast {
namespace {

struct Isa {
    const char* name;
    const cpu::Kernels<float>* of_float;
    const cpu::Kernels<double>* of_double;
};

std::vector<Isa> supported_isas() {
    std::vector<Isa> isas;
#define MNIST_FAST_ISA(name, supported) \
    if (supported) isas.push_back({#name, &cpu::name##_float, &cpu::name##_double});
#include "cpu/isa.inc"
#undef MNIST_FAST_ISA
    isas.push_back({"reference", nullptr, nullptr});
    return isas;
}

const std::vector<Isa>& isas() {
    static const std::vector<Isa> list = supported_isas();
    return list;
}

std::atomic<size_t> active{0};
std::atomic<bool> winograd_on{true};

}  // namespace

std::vector<std::string> available_isas() {
    std::vector<std::string> names;
    for (const Isa& isa : isas()) names.emplace_back(isa.name);
    return names;
}

std::string active_isa() { return isas()[active].name; }

void set_isa(const std::string& name) {
    std::string choices;
    for (size_t i = 0; i < isas().size(); ++i) {
        if (isas()[i].name == name) {
            active = i;
            return;
        }
        choices += (i ? ", " : "") + std::string(isas()[i].name);
    }
    throw std::invalid_argument("no instruction set '" + name + "' on this machine; it has " + choices);
}

bool winograd() { return winograd_on; }

void set_winograd(bool on) { winograd_on = on; }

namespace cpu {

template <>
const Kernels<float>* active_kernels() {
    return isas()[active].of_float;
}

template <>
const Kernels<double>* active_kernels() {
    return isas()[active].of_double;
}

const PairKernels* active_pair_kernels() {
#if defined(__x86_64__)
    static const bool supported = __builtin_cpu_supports("avx512bf16");
    if (supported && isas()[active].of_float == &avx512_float) return &avx512_pairs;
#endif
    return nullptr;
}

}  // namespace cpu
}  // namespace mnist_fast
