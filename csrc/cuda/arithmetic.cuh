// How a warp multiplies: one class for each arithmetic, all with the same tiles, so that one source serves every
// kernel.
//
// A step multiplies 16 rows by 8 columns along kDepth elements, 32 bytes, of the common dimension. Those lie in shared
// memory in units of 16 bytes. The accumulators are laid out as those of mma m16n8 (ptx.cuh) by every class:
// acc[i] is row g + 8 * (i / 2), column 2t + i % 2, with g = lane / 4, t = lane % 4.
//
//   load_a     rows of units: lane l gives the address of unit l / 16 of row l % 16
//   load_b     a tile of packed weights: 256 bytes, in the order that pack.cuh writes them by position()
//   gather_a   the transposed operand: depth is pixels, rows are channels. Of the pixels and units of a step the lane
//              gives the addresses of those that lane_pixel(0...) and lane_unit(0...) name
//   gather_b   depth is pixels, columns are channels, side by side from `columns`, pixels `pitch` bytes apart
#pragma once

#include "cuda/elements.cuh"
#include "cuda/layout.h"

namespace mnist_fast::cuda {

struct Position {
    int depth, column;
};

// Tensor cores on 16-bit elements.
template <typename T>
struct HalfArithmetic {
    using Element = T;
    static constexpr int kUnit = 8, kDepth = 16;
    static constexpr int kLanePixels = 1, kLaneUnits = 1;
    struct A {
        uint32_t words[4];
    };
    struct B {
        uint32_t words[2];
    };

    __device__ static __forceinline__ void load_a(A& a, const unsigned char* unit, int) {
        ptx::ldmatrix_x4(a.words, unit);
    }

    __device__ static __forceinline__ void load_b(B& b, const unsigned char* tile, int lane) {
        const uint2 words = reinterpret_cast<const uint2*>(tile)[lane];
        b.words[0] = words.x;
        b.words[1] = words.y;
    }

    // Where element i of a packed tile stands.
    __device__ static __forceinline__ Position position(int i) {
        const int lane = i / 4;
        return {lane % 4 * 2 + i % 2 + i / 2 % 2 * 8, lane / 4};
    }
    __device__ static __forceinline__ T packed(T weight) { return weight; }

    __device__ static __forceinline__ int lane_pixel(int lane, int) { return lane % 8 + lane / 16 * 8; }
    __device__ static __forceinline__ int lane_unit(int lane, int) { return lane / 8 % 2; }
    __device__ static __forceinline__ void gather_a(A& a, const unsigned char* const (&units)[1][1], int) {
        ptx::ldmatrix_x4_transposed(a.words, units[0][0]);
    }

    __device__ static __forceinline__ void gather_b(B& b, const unsigned char* columns, int pitch, int lane) {
        ptx::ldmatrix_x2_transposed(b.words, columns + lane % 16 * pitch);
    }

    __device__ static __forceinline__ void multiply(float (&c)[4], const A& a, const B& b);
};

template <>
__device__ __forceinline__ void HalfArithmetic<bfloat16>::multiply(float (&c)[4], const A& a, const B& b) {
    ptx::mma_bfloat16(c, a.words, b.words);
}
template <>
__device__ __forceinline__ void HalfArithmetic<float16>::multiply(float (&c)[4], const A& a, const B& b) {
    ptx::mma_float16(c, a.words, b.words);
}

// Tensor cores on float32, whose factors are rounded to 10 bits of mantissa.
struct Tf32Arithmetic {
    using Element = float;
    static constexpr int kUnit = 4, kDepth = 8;
    static constexpr int kLanePixels = 2, kLaneUnits = 2;
    struct A {
        uint32_t words[4];
    };
    struct B {
        uint32_t words[2];
    };

    __device__ static __forceinline__ void load_a(A& a, const unsigned char* unit, int) {
        ptx::ldmatrix_x4(a.words, unit);
#pragma unroll
        for (int i = 0; i < 4; ++i) a.words[i] = ptx::tf32_bits(__uint_as_float(a.words[i]));
    }

    __device__ static __forceinline__ void load_b(B& b, const unsigned char* tile, int lane) {
        const uint2 words = reinterpret_cast<const uint2*>(tile)[lane];
        b.words[0] = words.x;
        b.words[1] = words.y;
    }

    __device__ static __forceinline__ Position position(int i) {
        const int lane = i / 2;
        return {lane % 4 + i % 2 * 4, lane / 4};
    }
    __device__ static __forceinline__ float packed(float weight) { return __uint_as_float(ptx::tf32_bits(weight)); }

    __device__ static __forceinline__ int lane_pixel(int lane, int i) { return lane % 4 + 4 * i; }
    __device__ static __forceinline__ int lane_unit(int lane, int i) { return lane / 16 + 2 * i; }
    __device__ static __forceinline__ void gather_a(A& a, const unsigned char* const (&units)[2][2], int lane) {
#pragma unroll
        for (int i = 0; i < 4; ++i)
            a.words[i] = ptx::tf32_bits(reinterpret_cast<const float*>(units[i / 2][i % 2])[lane / 4 % 4]);
    }

    __device__ static __forceinline__ void gather_b(B& b, const unsigned char* columns, int pitch, int lane) {
#pragma unroll
        for (int i = 0; i < 2; ++i)
            b.words[i] = ptx::tf32_bits(reinterpret_cast<const float*>(columns + (lane % 4 + 4 * i) * pitch)[lane / 4]);
    }

    __device__ static __forceinline__ void multiply(float (&c)[4], const A& a, const B& b) {
        ptx::mma_tf32(c, a.words, b.words);
    }
};

// float32 in full, by fused multiply-adds. A lane holds its two rows and two columns along the whole depth.
struct Float32Arithmetic {
    using Element = float;
    static constexpr int kUnit = 4, kDepth = 8;
    static constexpr int kLanePixels = 8, kLaneUnits = 2;
    struct A {
        float rows[2][8];
    };
    struct B {
        float columns[8][2];
    };

    // Lane t of the four that share two rows receives words t and t + 4; the others get theirs from it.
    __device__ static __forceinline__ void load_a(A& a, const unsigned char* unit, int lane) {
        uint32_t words[4];
        ptx::ldmatrix_x4(words, unit);
#pragma unroll
        for (int k = 0; k < 8; ++k)
#pragma unroll
            for (int row = 0; row < 2; ++row)
                a.rows[row][k] =
                    __uint_as_float(__shfl_sync(0xffffffffu, words[row + k / 4 * 2], lane / 4 * 4 + k % 4));
    }

    __device__ static __forceinline__ void load_b(B& b, const unsigned char* tile, int lane) {
#pragma unroll
        for (int k = 0; k < 8; k += 2) {
            const float4 values = reinterpret_cast<const float4*>(tile)[k / 2 * 4 + lane % 4];
            b.columns[k][0] = values.x;
            b.columns[k][1] = values.y;
            b.columns[k + 1][0] = values.z;
            b.columns[k + 1][1] = values.w;
        }
    }

    __device__ static __forceinline__ Position position(int i) {
        return {i / 16 * 2 + i % 4 / 2, i % 16 / 4 * 2 + i % 2};
    }
    __device__ static __forceinline__ float packed(float weight) { return weight; }

    __device__ static __forceinline__ int lane_pixel(int, int i) { return i; }
    __device__ static __forceinline__ int lane_unit(int lane, int i) { return lane / 16 + 2 * i; }
    __device__ static __forceinline__ void gather_a(A& a, const unsigned char* const (&units)[8][2], int lane) {
#pragma unroll
        for (int k = 0; k < 8; ++k)
#pragma unroll
            for (int row = 0; row < 2; ++row)
                a.rows[row][k] = reinterpret_cast<const float*>(units[k][row])[lane / 4 % 4];
    }

    __device__ static __forceinline__ void gather_b(B& b, const unsigned char* columns, int pitch, int lane) {
#pragma unroll
        for (int k = 0; k < 8; ++k) {
            const float2 values = reinterpret_cast<const float2*>(columns + k * pitch)[lane % 4];
            b.columns[k][0] = values.x;
            b.columns[k][1] = values.y;
        }
    }

    __device__ static __forceinline__ void multiply(float (&c)[4], const A& a, const B& b) {
#pragma unroll
        for (int k = 0; k < 8; ++k)
#pragma unroll
            for (int i = 0; i < 4; ++i) c[i] = fmaf(a.rows[i / 2][k], b.columns[k][i % 2], c[i]);
    }
};

}  // namespace mnist_fast::cuda
