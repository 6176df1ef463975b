// The operators on CUDA tensors: check, allocate, launch on the current stream of the tensors' device. Everything is
// allocated by torch, so that a CUDA graph which records the calls owns their memory.
#include <dlfcn.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <tuple>

#include "core/bfloat16.h"
#include "cuda/block.h"
#include "cuda/plan.h"
#include "torch/checks.h"
#include "torch/tensors.h"

namespace mnist_fast {
namespace {

using torch::stable::accelerator::DeviceGuard;

// torch's library for CUDA has it. We are not linked with that library, so that we load beside any torch; a tensor on a
// CUDA device proves that it is in the process.
cudaStream_t current_stream(int32_t device) {
    using GetStream = AOTITorchError (*)(int32_t, void**);
    static const auto get_stream = [] {
        void* const torch_cuda = dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_NOLOAD);
        return torch_cuda ? reinterpret_cast<GetStream>(dlsym(torch_cuda, "aoti_torch_get_current_cuda_stream"))
                          : nullptr;
    }();
    STD_TORCH_CHECK(get_stream, "mnist_fast: this torch does not tell its current CUDA stream");
    void* stream = nullptr;
    STABLE_TORCH_ERROR_CODE_CHECK(get_stream(device, &stream));
    return static_cast<cudaStream_t>(stream);
}

template <typename Use>
void dispatch(ScalarType dtype, Use use) {
    switch (dtype) {
        case ScalarType::Float: return use(float{});
        case ScalarType::BFloat16: return use(bfloat16{});
        case ScalarType::Half: return use(float16{});
        default: STD_TORCH_CHECK(false, "no CUDA kernel for this dtype; float32, bfloat16 and float16 have one");
    }
}

void require_covered(const ConvPool& p, const Tensor& input) {
    const char* const reason = cuda::why_not_covered(p, static_cast<int>(input.element_size()));
    STD_TORCH_CHECK(reason == nullptr, "no CUDA kernel for ", reason ? reason : "");
}

cuda::Float32 arithmetic(bool allow_tf32) { return allow_tf32 ? cuda::Float32::kTf32 : cuda::Float32::kFull; }

std::tuple<Tensor, Tensor> forward_cuda(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias,
                                        const IntList& stride, const IntList& padding, bool relu,
                                        const IntList& pool_size, const IntList& pool_stride, bool contiguous_output,
                                        bool with_code, bool allow_tf32) {
    const ConvPool p = problem_of(input, weight, bias, stride, padding, relu, pool_size, pool_stride);
    require_covered(p, input);
    const DeviceGuard guard(input.get_device_index());
    cuda::set_device(input.get_device_index());
    const ScalarType dtype = input.scalar_type();
    const bool channels_last = !contiguous_output && (is_channels_last(input) || is_channels_last(weight));
    Tensor output = allocate({p.n, p.o, p.out_h, p.out_w}, dtype, input, channels_last);
    Tensor code = allocate_flat(with_code ? IntList{p.n, p.out_h, p.out_w, p.o} : IntList{0}, ScalarType::Byte, input);
    std::optional<Tensor> dense_bias;
    if (bias) dense_bias = torch::stable::contiguous(*bias);
    dispatch(dtype, [&](auto zero) {
        using T = decltype(zero);
        const Tensor workspace =
            allocate_flat({static_cast<int64_t>(cuda::forward_workspace_bytes<T>(p))}, ScalarType::Byte, input);
        cuda::forward<T>({p, data_of<T>(input), strides_of(input), data_of<T>(weight), strides_of(weight),
                          dense_bias ? data_of<T>(*dense_bias) : nullptr, mutable_data_of<T>(output),
                          strides_of(output), with_code ? code.mutable_data_ptr<uint8_t>() : nullptr},
                         arithmetic(allow_tf32), workspace.mutable_data_ptr(),
                         current_stream(input.get_device_index()));
    });
    return {output, code};
}

std::tuple<Tensor, Tensor, Tensor> backward_cuda(const Tensor& grad_output, const Tensor& input, const Tensor& weight,
                                                 const Tensor& code, const IntList& stride, const IntList& padding,
                                                 const IntList& pool_size, const IntList& pool_stride,
                                                 const std::vector<bool>& output_mask, bool allow_tf32) {
    const ConvPool p = problem_of(input, weight, std::nullopt, stride, padding, true, pool_size, pool_stride);
    require_covered(p, input);
    check_gradient(p, grad_output, input, output_mask);
    STD_TORCH_CHECK(code.scalar_type() == ScalarType::Byte && code.is_contiguous() &&
                        code.numel() == p.n * p.out_positions() * p.o && code.device() == input.device(),
                    "code is not the one that forward returned");
    const DeviceGuard guard(input.get_device_index());
    cuda::set_device(input.get_device_index());
    const ScalarType dtype = input.scalar_type();
    const auto gradient = [&](bool wanted, const Tensor& of) {
        const IntList size{of.size(0), of.size(1), of.size(2), of.size(3)};
        return wanted ? allocate(size, dtype, input, is_channels_last(of)) : allocate_flat({0}, dtype, input);
    };
    Tensor grad_input = gradient(output_mask[0], input);
    Tensor grad_weight = gradient(output_mask[1], weight);
    Tensor grad_bias = allocate_flat({output_mask[2] ? p.o : 0}, dtype, input);
    dispatch(dtype, [&](auto zero) {
        using T = decltype(zero);
        const BackwardArgs<T> args{p,
                                   data_of<T>(grad_output),
                                   strides_of(grad_output),
                                   data_of<T>(input),
                                   strides_of(input),
                                   data_of<T>(weight),
                                   strides_of(weight),
                                   code.const_data_ptr<uint8_t>(),
                                   output_mask[0] ? mutable_data_of<T>(grad_input) : nullptr,
                                   output_mask[0] ? strides_of(grad_input) : Strides{},
                                   output_mask[1] ? mutable_data_of<T>(grad_weight) : nullptr,
                                   output_mask[1] ? strides_of(grad_weight) : Strides{},
                                   output_mask[2] ? mutable_data_of<T>(grad_bias) : nullptr};
        const Tensor workspace =
            allocate_flat({static_cast<int64_t>(cuda::backward_workspace_bytes<T>(args))}, ScalarType::Byte, input);
        cuda::backward<T>(args, arithmetic(allow_tf32), workspace.mutable_data_ptr(),
                          current_stream(input.get_device_index()));
    });
    return {grad_input, grad_weight, grad_bias};
}

}  // namespace
}  // namespace mnist_fast

STABLE_TORCH_LIBRARY_IMPL(mnist_fast, CUDA, m) {
    m.impl("conv_relu_maxpool2d_forward", TORCH_BOX(&mnist_fast::forward_cuda));
    m.impl("conv_relu_maxpool2d_backward", TORCH_BOX(&mnist_fast::backward_cuda));
}
