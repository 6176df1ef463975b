#include "core/geometry.h"

#include <initializer_list>
#include <stdexcept>
#include <string>

namespace mnist_fast {
namespace {

void require(bool condition, const char* what, int64_t value) {
    if (!condition) throw std::invalid_argument(std::string(what) + ", got " + std::to_string(value));
}

// Floor division as torch does it for output sizes: how often a window of `window` fits into `size` by `stride`.
int64_t positions(int64_t size, int64_t window, int64_t stride) {
    return size < window ? 0 : (size - window) / stride + 1;
}

void require_addressable(std::initializer_list<int64_t> sizes) {
    int64_t product = 8;  // bytes of the widest element
    for (int64_t size : sizes)
        if (__builtin_mul_overflow(product, size, &product))
            throw std::length_error("the tensors of this convolution do not fit into 64-bit sizes");
}

void require_small(const char* what, std::initializer_list<int64_t> sizes) {
    int64_t product = 1;
    for (int64_t size : sizes)
        if (__builtin_mul_overflow(product, size, &product) || product > INT32_MAX)
            throw std::invalid_argument(std::string(what) + " must number less than 2^31");
}

}  // namespace

ConvPool make_conv_pool(const ConvPoolSizes& s) {
    require(s.n >= 0, "batch size must not be negative", s.n);
    require(s.c > 0, "input channels must be positive", s.c);
    require(s.o > 0, "output channels must be positive", s.o);
    require(s.h > 0, "input height must be positive", s.h);
    require(s.w > 0, "input width must be positive", s.w);
    require(s.kh > 0 && s.kh <= kMaxKernel, "kernel height must be between 1 and 7", s.kh);
    require(s.kw > 0 && s.kw <= kMaxKernel, "kernel width must be between 1 and 7", s.kw);
    require(s.stride_h > 0 && s.stride_h <= kMaxStride, "stride must be 1 or 2", s.stride_h);
    require(s.stride_w > 0 && s.stride_w <= kMaxStride, "stride must be 1 or 2", s.stride_w);
    require(s.pad_h >= 0 && s.pad_h < s.kh, "padding must be smaller than the kernel", s.pad_h);
    require(s.pad_w >= 0 && s.pad_w < s.kw, "padding must be smaller than the kernel", s.pad_w);
    require(s.pool_h > 0, "pool height must be positive", s.pool_h);
    require(s.pool_w > 0, "pool width must be positive", s.pool_w);
    require(s.pool_h <= kMaxPoolPositions && s.pool_w <= kMaxPoolPositions / s.pool_h,
            "a pool window must hold at most 255 positions; its width", s.pool_w);
    require(s.pool_stride_h > 0, "pool stride must be positive", s.pool_stride_h);
    require(s.pool_stride_w > 0, "pool stride must be positive", s.pool_stride_w);

    ConvPool p{s, 0, 0};
    require_addressable({p.n, p.c, p.h, p.w});
    require_addressable({p.o, p.c, p.kh, p.kw});
    // Kernels count within a sample, and within all weights (rows padded to whole vectors), in 32 bits.
    require_small("a sample's elements", {p.c, p.h + 2 * kMaxKernel, p.w + 2 * kMaxKernel});
    require_small("the weight's elements", {p.o, p.kh, p.kw * p.c + 16});
    p.out_h = positions(positions(p.padded_h(), p.kh, p.stride_h), p.pool_h, p.pool_stride_h);
    p.out_w = positions(positions(p.padded_w(), p.kw, p.stride_w), p.pool_w, p.pool_stride_w);
    require(p.out_h > 0, "the pooled output must not be empty; its height", p.out_h);
    require(p.out_w > 0, "the pooled output must not be empty; its width", p.out_w);
    require_addressable({p.n, p.o, p.out_h, p.out_w});
    return p;
}

}  // namespace mnist_fast
