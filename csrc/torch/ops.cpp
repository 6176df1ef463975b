// Schemas of the operators that kernels implement; the public operator, autograd and the stock fallback are in Python
// (mnist_fast/ops), because the stable ABI, which lets one build run under many torch versions, has no autograd.
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY_FRAGMENT(mnist_fast, m) {
    // -> (output, code); code is [n, out_h, out_w, o], without pooling [n, out_h, bytes of a row]
    // (csrc/core/conv_pool.h), on CUDA [n, out_h, out_w, o] then as well, and empty unless asked for. allow_tf32:
    // float32 on CUDA may round its factors.
    m.def(
        "conv_relu_maxpool2d_forward(Tensor input, Tensor weight, Tensor? bias, int[2] stride, int[2] padding, "
        "bool relu, int[2] pool_size, int[2] pool_stride, bool contiguous_output, bool with_code, "
        "bool allow_tf32=False) -> (Tensor, Tensor)");
    // -> (grad_input, grad_weight, grad_bias); those that output_mask leaves out are empty.
    m.def(
        "conv_relu_maxpool2d_backward(Tensor grad_output, Tensor input, Tensor weight, Tensor code, int[2] stride, "
        "int[2] padding, int[2] pool_size, int[2] pool_stride, bool[3] output_mask, bool allow_tf32=False) "
        "-> (Tensor, Tensor, Tensor)");

    // -> (loss, its gradient by logits): csrc/core/cross_entropy.h. logits float32 (N, C), targets int64 (N,).
    m.def("cross_entropy(Tensor logits, Tensor targets, float smoothing, float divisor) -> (Tensor, Tensor)");
    // One step of Muon, in place: csrc/core/muon.h. rate: float64, (); the others float32, all contiguous
    // or all channels_last.
    m.def(
        "muon_(Tensor(a!) parameter, Tensor(b!) momentum_buffer, Tensor gradient, Tensor rate, float momentum, "
        "float weight_decay, int steps) -> ()");
    // -> float32 (B, 1, H, W), with the strides of channels_last: csrc/core/pixels.h. images: uint8 (N, H, W); index:
    // int64 (B,), none for all images.
    m.def("normalize(Tensor images, Tensor? index, float scale, float offset) -> Tensor");
}
