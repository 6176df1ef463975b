#include "core/pixels.h"

#include "cpu/select.h"

namespace mnist_fast {

void normalize(const PixelsArgs& args, const Parallel& parallel) {
    constexpr int64_t kImages = 16;  // enough to be worth another thread
    constexpr int64_t kAhead = 4;    // chosen images lie anywhere in memory
    const auto* const kernels = cpu::active_kernels<float>();
    auto piece = [&](int64_t number) {
        const int64_t end = args.images < (number + 1) * kImages ? args.images : (number + 1) * kImages;
        for (int64_t i = number * kImages; i < end; ++i) {
            const auto image_of = [&](int64_t n) { return args.from + (args.index ? args.index[n] : n) * args.pixels; };
            const uint8_t* const image = image_of(i);
            if (args.index && i + kAhead < args.images) {
                const uint8_t* const later = image_of(i + kAhead);
                for (int64_t at = 0; at < args.pixels; at += 64) __builtin_prefetch(later + at);
            }
            float* const to = args.to + i * args.pixels;
            if (kernels)
                kernels->scale_bytes(image, args.pixels, args.scale, args.offset, to);
            else
                for (int64_t at = 0; at < args.pixels; ++at) to[at] = args.scale * image[at] + args.offset;
        }
    };
    parallel_for(parallel, (args.images + kImages - 1) / kImages, piece);
}

}  // namespace mnist_fast
