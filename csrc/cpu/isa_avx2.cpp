#define MNIST_FAST_ISA_NAME avx2
#define MNIST_FAST_VECTOR_BYTES 32
#define MNIST_FAST_REGISTERS 16
#include "cpu/instantiate.inc"
