// The path for any machine: 16-byte vectors, which every 64-bit target has (SSE2, NEON) or the compiler splits.
#define MNIST_FAST_ISA_NAME scalar
#define MNIST_FAST_VECTOR_BYTES 16
#if defined(__aarch64__)
#define MNIST_FAST_REGISTERS 32
#else
#define MNIST_FAST_REGISTERS 16
#endif
#include "cpu/instantiate.inc"
