// One code among those that forward leaves for backward, in the format that conv_pool.h describes.
#pragma once

#include "core/conv_pool.h"

namespace mnist_fast {

inline uint8_t read_code(const ConvPool& p, const uint8_t* codes, int64_t n, int64_t py, int64_t px, int64_t o) {
    const uint8_t* const row = codes + (n * p.out_h + py) * p.code_row();
    const int64_t at = px * p.o + o;
    if (!p.one_bit_codes()) return row[at];
    return row[at / 8] >> at % 8 & 1 ? uint8_t{0} : kDead;
}

// A row's bits are written in order: the first of a byte clears those that follow.
inline void write_code(const ConvPool& p, uint8_t* codes, int64_t n, int64_t py, int64_t px, int64_t o, uint8_t code) {
    uint8_t* const row = codes + (n * p.out_h + py) * p.code_row();
    const int64_t at = px * p.o + o;
    if (!p.one_bit_codes()) {
        row[at] = code;
        return;
    }
    if (at % 8 == 0) row[at / 8] = 0;
    if (code != kDead) row[at / 8] = static_cast<uint8_t>(row[at / 8] | 1 << at % 8);
}

}  // namespace mnist_fast
