// IEEE half precision as memory holds it. The CPU has no kernels for it; on GPUs the hardware converts.
#pragma once

#include <cstdint>

namespace mnist_fast {

struct float16 {
    uint16_t bits;
};

}  // namespace mnist_fast
