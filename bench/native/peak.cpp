#include "peak.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <algorithm>

#include "core/isa.h"

namespace native_bench {
namespace {

// A macro, because GCC splits vectors for the instruction set of the function they are written in before it inlines.
// CHAINS: at least latency times throughput of the multiply-add, and no more than there are registers. They begin at
// values that the compiler cannot know, or it would find two alike or one that stands still; all converge to 2.
#define NATIVE_BENCH_PEAK(ISA, BYTES, CHAINS, TARGET)                                    \
    template <typename T>                                                                \
    TARGET double run_##ISA(int64_t steps) {                                             \
        typedef T Vector __attribute__((vector_size(BYTES)));                            \
        Vector sums[CHAINS];                                                             \
        for (int i = 0; i < CHAINS; ++i) sums[i] = Vector{} + static_cast<T>(steps + i); \
        const Vector factor = Vector{} + T(0.5), term = Vector{} + T(1);                 \
        for (; steps > 0; --steps)                                                       \
            for (Vector& sum : sums) sum = sum * factor + term;                          \
        for (int i = 1; i < CHAINS; ++i) sums[0] += sums[i];                             \
        return static_cast<double>(sums[0][0]);                                          \
    }                                                                                    \
    template <typename T>                                                                \
    Peak peak_##ISA(const char* dtype) {                                                 \
        return {#ISA, dtype, 2 * CHAINS * BYTES / int64_t{sizeof(T)}, &run_##ISA<T>};    \
    }

NATIVE_BENCH_PEAK(scalar, 16, 12, )
#if defined(__x86_64__)
NATIVE_BENCH_PEAK(avx2, 32, 12, __attribute__((target("avx2,fma"))))
NATIVE_BENCH_PEAK(avx512, 64, 16, __attribute__((target("avx512f"))))

// Products of pairs of bfloat16, added up in float32.
__attribute__((target("avx512f,avx512bf16"))) double run_avx512_bfloat16(int64_t steps) {
    constexpr int kChains = 16;
    __m512 sums[kChains];
    for (int i = 0; i < kChains; ++i) sums[i] = _mm512_set1_ps(static_cast<float>(steps + i));
    const __m512bh ones = (__m512bh)_mm512_set1_epi16(0x3f80);
    for (; steps > 0; --steps)
        for (__m512& sum : sums) sum = _mm512_dpbf16_ps(sum, ones, ones);
    for (int i = 1; i < kChains; ++i) sums[0] += sums[i];
    return static_cast<double>(sums[0][0]);
}
#endif

}  // namespace

std::vector<Peak> available_peaks() {
    std::vector<Peak> peaks{peak_scalar<float>("float32"), peak_scalar<double>("float64")};
#if defined(__x86_64__)
    const std::vector<std::string> isas = mnist_fast::available_isas();
    const auto available = [&](const char* name) { return std::find(isas.begin(), isas.end(), name) != isas.end(); };
    if (available("avx2")) {
        peaks.push_back(peak_avx2<float>("float32"));
        peaks.push_back(peak_avx2<double>("float64"));
    }
    if (available("avx512")) {
        peaks.push_back(peak_avx512<float>("float32"));
        peaks.push_back(peak_avx512<double>("float64"));
        if (__builtin_cpu_supports("avx512bf16"))
            peaks.push_back({"avx512", "bfloat16", 4 * 16 * 16, &run_avx512_bfloat16});
    }
#endif
    return peaks;
}

}  // namespace native_bench
