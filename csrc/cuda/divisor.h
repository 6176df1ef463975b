// Division by a number that is known when a kernel is launched: a multiplication and a shift instead of some twenty
// instructions.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define MNIST_FAST_HOST_DEVICE __host__ __device__
#else
#define MNIST_FAST_HOST_DEVICE
#endif

namespace mnist_fast::cuda {

// For dividends and divisors from 0 (1) to 2^31 - 1. With 2^(bits-1) < divisor <= 2^bits, the multiplier
// ceil(2^(31+bits) / divisor) fits into 32 bits, and its error times any dividend stays below one quotient.
class Divisor {
  public:
    Divisor() = default;
    explicit Divisor(int divisor) : divisor_(divisor) {
        int bits = 0;
        while ((int64_t{1} << bits) < divisor) ++bits;
        shift_ = 31 + bits;
        multiplier_ = static_cast<uint32_t>(((uint64_t{1} << shift_) + static_cast<uint64_t>(divisor) - 1) /
                                            static_cast<uint64_t>(divisor));
    }

    // The quotient; the remainder goes into `number`.
    MNIST_FAST_HOST_DEVICE int split(int& number) const {
        const int quotient =
            static_cast<int>((static_cast<uint64_t>(static_cast<uint32_t>(number)) * multiplier_) >> shift_);
        number -= quotient * divisor_;
        return quotient;
    }

  private:
    int divisor_ = 1;
    int shift_ = 31;
    uint32_t multiplier_ = 1u << 31;
};

}  // namespace mnist_fast::cuda
