#include "torch/checks.h"

#include <torch/headeronly/util/Exception.h>

#include "core/geometry.h"

namespace mnist_fast {

ConvPool problem_of(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, const IntList& stride,
                    const IntList& padding, bool relu, const IntList& pool_size, const IntList& pool_stride) {
    STD_TORCH_CHECK(input.dim() == 4 && weight.dim() == 4, "expected a 4-D input and weight, got ", input.dim(),
                    "-D and ", weight.dim(), "-D");
    STD_TORCH_CHECK(input.size(1) == weight.size(1), "expected input to have ", weight.size(1), " channels, got ",
                    input.size(1));
    STD_TORCH_CHECK(input.scalar_type() == weight.scalar_type(), "input and weight must have the same dtype");
    STD_TORCH_CHECK(input.device() == weight.device(), "input and weight must be on the same device");
    if (bias) {
        STD_TORCH_CHECK(bias->dim() == 1 && bias->size(0) == weight.size(0), "expected a bias of ", weight.size(0),
                        " elements");
        STD_TORCH_CHECK(bias->scalar_type() == weight.scalar_type(), "bias and weight must have the same dtype");
        STD_TORCH_CHECK(bias->device() == weight.device(), "bias and weight must be on the same device");
    }
    STD_TORCH_CHECK(stride.size() == 2 && padding.size() == 2 && pool_size.size() == 2 && pool_stride.size() == 2,
                    "stride, padding, pool_size and pool_stride take two numbers each");
    return make_conv_pool({input.size(0), input.size(1), input.size(2), input.size(3), weight.size(0), weight.size(2),
                           weight.size(3), stride[0], stride[1], padding[0], padding[1], pool_size[0], pool_size[1],
                           pool_stride[0], pool_stride[1], relu});
}

void check_gradient(const ConvPool& p, const Tensor& grad_output, const Tensor& input,
                    const std::vector<bool>& output_mask) {
    STD_TORCH_CHECK(grad_output.dim() == 4 && grad_output.size(0) == p.n && grad_output.size(1) == p.o &&
                        grad_output.size(2) == p.out_h && grad_output.size(3) == p.out_w,
                    "grad_output does not have the shape of the output");
    STD_TORCH_CHECK(grad_output.scalar_type() == input.scalar_type(), "grad_output and input must have the same dtype");
    STD_TORCH_CHECK(grad_output.device() == input.device(), "grad_output and input must be on the same device");
    STD_TORCH_CHECK(output_mask.size() == 3, "output_mask takes three booleans");
}

Strides strides_of(const Tensor& tensor) {
    return {tensor.stride(0), tensor.stride(1), tensor.stride(2), tensor.stride(3)};
}

// The rule of torch's is_channels_last_strides_2d, so that our outputs get the strides that stock's would have.
bool is_channels_last(const Tensor& tensor) {
    int64_t smallest = 0;
    if (tensor.stride(1) == 0) return false;
    for (int64_t d : {1, 3, 2, 0}) {
        if (tensor.size(d) == 0 || tensor.stride(d) < smallest) return false;
        if (d == 0 && smallest == tensor.stride(1)) return false;
        smallest = tensor.stride(d) * (tensor.size(d) > 1 ? tensor.size(d) : 1);
    }
    return true;
}

bool is_dense_channels_last(const Tensor& tensor) {
    if (tensor.dim() != 4) return false;
    int64_t dense = 1;
    for (int64_t d : {1, 3, 2, 0}) {
        if (tensor.size(d) != 1 && tensor.stride(d) != dense) return false;
        dense *= tensor.size(d);
    }
    return true;
}

}  // namespace mnist_fast
