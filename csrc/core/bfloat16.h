// bfloat16 as memory holds it: the upper half of a float. Arithmetic is done in float. Files for different instruction
// sets convert, so that a copy which is not inlined could be one for AVX-512.
#pragma once

#include <cstdint>
#include <cstring>

namespace mnist_fast {

struct bfloat16 {
    uint16_t bits;

    bfloat16() = default;
    // Rounds to nearest, ties to even; a NaN stays one.
    __attribute__((always_inline)) explicit bfloat16(float value) {
        uint32_t wide;
        std::memcpy(&wide, &value, sizeof wide);
        const uint32_t rounded = (wide + 0x7fff + ((wide >> 16) & 1)) >> 16;
        bits = static_cast<uint16_t>(value != value ? (wide >> 16) | 0x40 : rounded);
    }
    __attribute__((always_inline)) operator float() const {
        const uint32_t wide = static_cast<uint32_t>(bits) << 16;
        float value;
        std::memcpy(&value, &wide, sizeof value);
        return value;
    }
};

// What the kernels compute in, and add up in, for tensors of T.
template <typename T>
struct ComputeType {
    using type = T;
};
template <>
struct ComputeType<bfloat16> {
    using type = float;
};
template <typename T>
using Compute = typename ComputeType<T>::type;

}  // namespace mnist_fast
