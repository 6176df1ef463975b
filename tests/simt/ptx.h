// The functions of csrc/cuda/ptx.cuh on the CPU, from the PTX ISA's description of each instruction's fragments, which
// that file sums up. Products are exact and added one after the other in float.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "simt/block.h"

namespace mnist_fast::cuda::ptx {

inline unsigned char* shared_memory() { return simt::block->shared_memory(); }

// --- ldmatrix -------------------------------------------------------------------------------------------------------

template <int kMatrices, bool kTransposed>
void ldmatrix(uint32_t (&words)[kMatrices], const void* row) {
    struct Operands {
        uint32_t* words;
        const unsigned char* row;
    } operands{words, static_cast<const unsigned char*>(row)};
    constexpr int kCode = 100 + 10 * kMatrices + kTransposed;
    simt::block->together(kCode, &operands, [](simt::Lane(&lanes)[simt::kLanes]) {
        const auto at = [&](int lane) -> Operands& { return *static_cast<Operands*>(lanes[lane].operands); };
        for (int matrix = 0; matrix < kMatrices; ++matrix) {
            uint16_t elements[8][8];
            for (int i = 0; i < 8; ++i) {
                const unsigned char* from = at(8 * matrix + i).row;
                if (reinterpret_cast<uintptr_t>(from) % 16 != 0)
                    simt::fail("ldmatrix: a row is not aligned to 16 bytes");
                std::memcpy(elements[i], from, 16);
            }
            for (int lane = 0; lane < simt::kLanes; ++lane) {
                const int g = lane / 4, t = lane % 4;
                const uint32_t low = kTransposed ? elements[2 * t][g] : elements[g][2 * t];
                const uint32_t high = kTransposed ? elements[2 * t + 1][g] : elements[g][2 * t + 1];
                at(lane).words[matrix] = low | high << 16;
            }
        }
    });
}

inline void ldmatrix_x4(uint32_t (&words)[4], const void* row) { ldmatrix<4, false>(words, row); }
inline void ldmatrix_x4_transposed(uint32_t (&words)[4], const void* row) { ldmatrix<4, true>(words, row); }
inline void ldmatrix_x2_transposed(uint32_t (&words)[2], const void* row) { ldmatrix<2, true>(words, row); }

// --- conversions ----------------------------------------------------------------------------------------------------

// The value rounded to nearest, ties to even, with `bits` fewer bits of mantissa; in float's own exponents.
inline uint32_t rounded_bits(float value, int bits) {
    const uint32_t wide = std::bit_cast<uint32_t>(value), low = (1u << bits) - 1;
    if (value != value) return wide | 0x400000;
    return (wide + (low >> 1) + (wide >> bits & 1)) & ~low;
}

inline uint16_t bfloat16_bits(float value) { return static_cast<uint16_t>(rounded_bits(value, 16) >> 16); }

inline uint32_t tf32_bits(float value) {
    const uint32_t wide = std::bit_cast<uint32_t>(value);
    return value != value ? wide | 0x400000 : (wide + 0x1000) & ~0x1fffu;
}

inline float from_float16_bits(uint16_t bits) {
    const int exponent = bits >> 10 & 0x1f;
    const auto mantissa = static_cast<float>(bits & 0x3ff);
    const float sign = bits >> 15 ? -1.f : 1.f;
    if (exponent == 0x1f) return mantissa ? NAN : sign * INFINITY;
    if (exponent == 0) return sign * std::ldexp(mantissa, -24);
    return sign * std::ldexp(1024 + mantissa, exponent - 25);
}

inline uint16_t float16_bits(float value) {
    const auto sign = static_cast<uint32_t>(std::signbit(value)) << 15;
    const float magnitude = std::fabs(value);
    if (value != value) return 0x7fff;
    if (magnitude >= 65520) return static_cast<uint16_t>(sign | 0x7c00);
    // Below 2^-14 in steps of 2^-24, the first of which beyond the subnormal numbers is the first normal one.
    if (magnitude < 0x1p-14f)
        return static_cast<uint16_t>(sign | static_cast<uint32_t>(std::nearbyint(magnitude * 0x1p24f)));
    return static_cast<uint16_t>(sign | ((rounded_bits(magnitude, 13) >> 13) - (112 << 10)));
}

// --- mma ------------------------------------------------------------------------------------------------------------

enum class Format { kBfloat16, kFloat16, kTf32 };

// The elements of a word, in order: two of 16 bits, or one.
template <Format kFormat>
float element(uint32_t word, int i) {
    if (kFormat == Format::kTf32) return std::bit_cast<float>(word & ~0x1fffu);
    const auto bits = static_cast<uint16_t>(word >> 16 * i);
    return kFormat == Format::kFloat16 ? from_float16_bits(bits) : std::bit_cast<float>(uint32_t{bits} << 16);
}

template <Format kFormat>
void mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    constexpr int kPerWord = kFormat == Format::kTf32 ? 1 : 2, kDepth = 8 * kPerWord;
    struct Operands {
        float* c;
        const uint32_t *a, *b;
    } operands{c, a, b};
    simt::block->together(200 + static_cast<int>(kFormat), &operands, [](simt::Lane(&lanes)[simt::kLanes]) {
        float rows[16][kDepth], columns[8][kDepth];
        for (int lane = 0; lane < simt::kLanes; ++lane) {
            const Operands& o = *static_cast<Operands*>(lanes[lane].operands);
            const int g = lane / 4, t = lane % 4;
            for (int e = 0; e < kPerWord; ++e) {
                for (int i = 0; i < 4; ++i)
                    rows[g + 8 * (i % 2)][(t + 4 * (i / 2)) * kPerWord + e] = element<kFormat>(o.a[i], e);
                for (int i = 0; i < 2; ++i) columns[g][(t + 4 * i) * kPerWord + e] = element<kFormat>(o.b[i], e);
            }
        }
        for (int lane = 0; lane < simt::kLanes; ++lane) {
            const Operands& o = *static_cast<Operands*>(lanes[lane].operands);
            const int g = lane / 4, t = lane % 4;
            for (int i = 0; i < 4; ++i)
                for (int k = 0; k < kDepth; ++k) o.c[i] += rows[g + 8 * (i / 2)][k] * columns[2 * t + i % 2][k];
        }
    });
}

inline void mma_bfloat16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    mma<Format::kBfloat16>(c, a, b);
}
inline void mma_float16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    mma<Format::kFloat16>(c, a, b);
}
inline void mma_tf32(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) { mma<Format::kTf32>(c, a, b); }

// --- cp.async -------------------------------------------------------------------------------------------------------

// The bytes arrive as late as they may: when this thread waits for them.
inline void copy_async(void* shared, const void* global) {
    if (reinterpret_cast<uintptr_t>(shared) % 16 != 0 || reinterpret_cast<uintptr_t>(global) % 16 != 0)
        simt::fail("cp.async: an address is not aligned to 16 bytes");
    simt::block->current().copies.emplace_back([shared, global] { std::memcpy(shared, global, 16); });
}

inline void copies_arrived() {
    auto& copies = simt::block->current().copies;
    for (const auto& copy : copies) copy();
    copies.clear();
}

}  // namespace mnist_fast::cuda::ptx
