#define MNIST_FAST_ISA_NAME avx512
#define MNIST_FAST_VECTOR_BYTES 64
#define MNIST_FAST_REGISTERS 32
#include "cpu/instantiate.inc"
