#include "cuda/block.h"

#include <algorithm>

#include "cuda/kernels.h"
#include "cuda/launch.h"
#include "cuda/plan.h"

namespace mnist_fast::cuda {
namespace {

// Both gradients take the whole workspace, one after the other.
size_t packed_bytes(const Windows& windows, int64_t columns, const Device& device) {
    const ConvolutionPlan plan = plan_convolution(windows, columns, device.multiprocessors, device.shared_bytes);
    return static_cast<size_t>(plan.column_blocks) * static_cast<size_t>(plan.packed_bytes);
}

}  // namespace

void set_device(int device) { check(cudaSetDevice(device), "CUDA device"); }

template <typename T>
size_t forward_workspace_bytes(const ConvPool& p) {
    if (is_direct(p)) return 0;
    return packed_bytes(forward_windows(p, sizeof(T)), p.o, current_device(nullptr));
}

template <typename T>
size_t backward_workspace_bytes(const BackwardArgs<T>& args) {
    const ConvPool& p = args.p;
    const Device device = current_device(nullptr);
    const bool sums = args.grad_weight || args.grad_bias;
    if (is_direct(p)) {
        const DirectGradientPlan plan = plan_direct_gradient(p, device.multiprocessors);
        return sums ? static_cast<size_t>(plan.blocks * plan.rows * plan.columns) * sizeof(float) : 0;
    }
    size_t bytes = 0;
    if (args.grad_input) bytes = packed_bytes(input_gradient_windows(p, sizeof(T)), p.c, device);
    if (sums) {
        const WeightGradientPlan plan = plan_weight_gradient(p, sizeof(T), device.multiprocessors);
        bytes = std::max(bytes, static_cast<size_t>(plan.shares() * plan.rows() * plan.columns()) * sizeof(float));
    }
    return bytes;
}

template <>
void forward(const ForwardArgs<bfloat16>& args, Float32, void* workspace, cudaStream_t stream) {
    if (is_direct(args.p)) return forward_direct(args, stream);
    forward_bfloat16(args, workspace, stream);
}
template <>
void forward(const ForwardArgs<float16>& args, Float32, void* workspace, cudaStream_t stream) {
    if (is_direct(args.p)) return forward_direct(args, stream);
    forward_float16(args, workspace, stream);
}
template <>
void forward(const ForwardArgs<float>& args, Float32 float32, void* workspace, cudaStream_t stream) {
    if (is_direct(args.p)) return forward_direct(args, stream);
    (float32 == Float32::kTf32 ? forward_tf32 : forward_float32)(args, workspace, stream);
}

template <>
void backward(const BackwardArgs<bfloat16>& args, Float32, void* workspace, cudaStream_t stream) {
    if (is_direct(args.p)) return backward_direct(args, workspace, stream);
    backward_bfloat16(args, workspace, stream);
}
template <>
void backward(const BackwardArgs<float16>& args, Float32, void* workspace, cudaStream_t stream) {
    if (is_direct(args.p)) return backward_direct(args, workspace, stream);
    backward_float16(args, workspace, stream);
}
template <>
void backward(const BackwardArgs<float>& args, Float32 float32, void* workspace, cudaStream_t stream) {
    if (is_direct(args.p)) return backward_direct(args, workspace, stream);
    (float32 == Float32::kTf32 ? backward_tf32 : backward_float32)(args, workspace, stream);
}

template size_t forward_workspace_bytes<float>(const ConvPool&);
template size_t forward_workspace_bytes<bfloat16>(const ConvPool&);
template size_t forward_workspace_bytes<float16>(const ConvPool&);
template size_t backward_workspace_bytes(const BackwardArgs<float>&);
template size_t backward_workspace_bytes(const BackwardArgs<bfloat16>&);
template size_t backward_workspace_bytes(const BackwardArgs<float16>&);

}  // namespace mnist_fast::cuda
