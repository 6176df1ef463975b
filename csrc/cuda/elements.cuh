// The elements of tensors, on the device: as bits, and as the float that everything is added up in.
#pragma once

#include "core/bfloat16.h"
#include "cuda/float16.h"
#include "cuda/ptx.cuh"

namespace mnist_fast::cuda {

__device__ __forceinline__ float to_float(float value) { return value; }
__device__ __forceinline__ float to_float(bfloat16 value) {
    return __uint_as_float(static_cast<uint32_t>(value.bits) << 16);
}
__device__ __forceinline__ float to_float(float16 value) { return ptx::from_float16_bits(value.bits); }

// Rounded once, to nearest.
template <typename T>
__device__ __forceinline__ T from_float(float value);
template <>
__device__ __forceinline__ float from_float<float>(float value) {
    return value;
}
template <>
__device__ __forceinline__ bfloat16 from_float<bfloat16>(float value) {
    bfloat16 result;
    result.bits = ptx::bfloat16_bits(value);
    return result;
}
template <>
__device__ __forceinline__ float16 from_float<float16>(float value) {
    return {ptx::float16_bits(value)};
}

__device__ __forceinline__ uint32_t bits_of(float value) { return __float_as_uint(value); }
__device__ __forceinline__ uint32_t bits_of(bfloat16 value) { return value.bits; }
__device__ __forceinline__ uint32_t bits_of(float16 value) { return value.bits; }
__device__ __forceinline__ uint32_t bits_of(uint8_t value) { return value; }

__device__ __forceinline__ void from_bits(float& value, uint32_t bits) { value = __uint_as_float(bits); }
__device__ __forceinline__ void from_bits(bfloat16& value, uint32_t bits) { value.bits = static_cast<uint16_t>(bits); }
__device__ __forceinline__ void from_bits(float16& value, uint32_t bits) { value.bits = static_cast<uint16_t>(bits); }
__device__ __forceinline__ void from_bits(uint8_t& value, uint32_t bits) { value = static_cast<uint8_t>(bits); }

// Elements that lie side by side and are put together in registers, one after the other, before they are stored.
template <typename T, int kCount>
struct Run {
    static constexpr int kBytes = kCount * static_cast<int>(sizeof(T));
    static constexpr int kPerWord = 4 / static_cast<int>(sizeof(T)), kBits = 32 / kPerWord;
    uint32_t words[(kBytes + 3) / 4] = {};

    // Once for each element: it is 0 until then.
    __device__ __forceinline__ void set(int i, T value) {
        words[i / kPerWord] |= bits_of(value) << i % kPerWord * kBits;
    }
    __device__ __forceinline__ T get(int i) const {
        T value;
        from_bits(value, words[i / kPerWord] >> i % kPerWord * kBits);
        return value;
    }

    // At once; both aligned to 16 bytes, or to the whole run where that is less.
    __device__ __forceinline__ void load(const void* from) {
        if constexpr (kBytes == 2) {
            words[0] = *static_cast<const uint16_t*>(from);
        } else if constexpr (kBytes == 4) {
            words[0] = *static_cast<const uint32_t*>(from);
        } else if constexpr (kBytes == 8) {
            const uint2 pair = *static_cast<const uint2*>(from);
            words[0] = pair.x;
            words[1] = pair.y;
        } else {
#pragma unroll
            for (int i = 0; i < kBytes / 16; ++i) {
                const uint4 four = static_cast<const uint4*>(from)[i];
                words[4 * i] = four.x;
                words[4 * i + 1] = four.y;
                words[4 * i + 2] = four.z;
                words[4 * i + 3] = four.w;
            }
        }
    }
    __device__ __forceinline__ void store(void* to) const {
        if constexpr (kBytes == 2) {
            *static_cast<uint16_t*>(to) = static_cast<uint16_t>(words[0]);
        } else if constexpr (kBytes == 4) {
            *static_cast<uint32_t*>(to) = words[0];
        } else if constexpr (kBytes == 8) {
            *static_cast<uint2*>(to) = make_uint2(words[0], words[1]);
        } else {
#pragma unroll
            for (int i = 0; i < kBytes / 16; ++i)
                static_cast<uint4*>(to)[i] =
                    make_uint4(words[4 * i], words[4 * i + 1], words[4 * i + 2], words[4 * i + 3]);
        }
    }
};

}  // namespace mnist_fast::cuda
