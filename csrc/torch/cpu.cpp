// The operators on CPU tensors: check, allocate, launch.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <algorithm>
#include <atomic>
#include <initializer_list>
#include <tuple>
#include <vector>

#include "core/block.h"
#include "core/cross_entropy.h"
#include "core/muon.h"
#include "core/pixels.h"
#include "torch/checks.h"
#include "torch/tensors.h"

namespace mnist_fast {
namespace {

// The pieces that a thread takes first.
struct alignas(64) Share {
    std::atomic<int64_t> next;
    int64_t end;
};

// torch's own pool. Each of its threads has the same pieces, most often the same samples, in every call: what it wrote
// in one layer, it finds in its own cache in the next. Then it helps the others: with equal shares alone, all would
// wait for the one that something else has slowed down.
const Parallel kTorchThreads{[](int64_t count, void (*body)(void*, int64_t, int64_t), void* context) {
    const int64_t threads = std::min<int64_t>(count, torch::stable::get_num_threads());
    std::vector<Share> shares(static_cast<size_t>(threads));
    for (int64_t thread = 0; thread < threads; ++thread) {
        shares[thread].next = count * thread / threads;
        shares[thread].end = count * (thread + 1) / threads;
    }
    torch::stable::parallel_for(0, threads, 1, [&](int64_t begin, int64_t end) {
        for (int64_t thread = begin; thread < end; ++thread)
            for (int64_t other = 0; other < threads; ++other) {
                Share& share = shares[(thread + other) % threads];
                for (int64_t i; share.next.load(std::memory_order_relaxed) < share.end &&
                                (i = share.next.fetch_add(1, std::memory_order_relaxed)) < share.end;)
                    body(context, i, i + 1);
            }
    });
}};

IntList code_size(const ConvPool& p) {
    if (p.one_bit_codes()) return {p.n, p.out_h, p.code_row()};
    return {p.n, p.out_h, p.out_w, p.o};
}

// Calls use(T{}) with the element type.
template <typename Use>
void dispatch(ScalarType dtype, Use use) {
    switch (dtype) {
        case ScalarType::Float: return use(float{});
        case ScalarType::Double: return use(double{});
        case ScalarType::BFloat16: return use(bfloat16{});
        default: STD_TORCH_CHECK(false, "no CPU kernel for this dtype; float32, float64 and bfloat16 have one");
    }
}

std::tuple<Tensor, Tensor> forward_cpu(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias,
                                       const IntList& stride, const IntList& padding, bool relu,
                                       const IntList& pool_size, const IntList& pool_stride, bool contiguous_output,
                                       bool with_code, bool) {
    const ConvPool p = problem_of(input, weight, bias, stride, padding, relu, pool_size, pool_stride);
    const ScalarType dtype = input.scalar_type();
    const bool channels_last = !contiguous_output && (is_channels_last(input) || is_channels_last(weight));
    Tensor output = allocate({p.n, p.o, p.out_h, p.out_w}, dtype, input, channels_last);
    Tensor code = allocate_flat(with_code ? code_size(p) : IntList{0}, ScalarType::Byte, input);
    std::optional<Tensor> dense_bias;
    if (bias) dense_bias = torch::stable::contiguous(*bias);
    dispatch(dtype, [&](auto zero) {
        using T = decltype(zero);
        forward<T>({p, data_of<T>(input), strides_of(input), data_of<T>(weight), strides_of(weight),
                    dense_bias ? data_of<T>(*dense_bias) : nullptr, mutable_data_of<T>(output), strides_of(output),
                    with_code ? code.mutable_data_ptr<uint8_t>() : nullptr},
                   kTorchThreads);
    });
    return {output, code};
}

std::tuple<Tensor, Tensor, Tensor> backward_cpu(const Tensor& grad_output, const Tensor& input, const Tensor& weight,
                                                const Tensor& code, const IntList& stride, const IntList& padding,
                                                const IntList& pool_size, const IntList& pool_stride,
                                                const std::vector<bool>& output_mask, bool) {
    const ConvPool p = problem_of(input, weight, std::nullopt, stride, padding, true, pool_size, pool_stride);
    const ScalarType dtype = input.scalar_type();
    check_gradient(p, grad_output, input, output_mask);
    STD_TORCH_CHECK(
        code.scalar_type() == ScalarType::Byte && code.is_contiguous() && code.numel() == p.n * p.out_h * p.code_row(),
        "code is not the one that forward returned");

    Tensor grad_input = output_mask[0] ? allocate({p.n, p.c, p.h, p.w}, dtype, input, is_channels_last(input))
                                       : allocate_flat({0}, dtype, input);
    Tensor grad_weight = output_mask[1] ? allocate({p.o, p.c, p.kh, p.kw}, dtype, input, is_channels_last(weight))
                                        : allocate_flat({0}, dtype, input);
    Tensor grad_bias = allocate_flat({output_mask[2] ? p.o : 0}, dtype, input);
    dispatch(dtype, [&](auto zero) {
        using T = decltype(zero);
        backward<T>({p, data_of<T>(grad_output), strides_of(grad_output), data_of<T>(input), strides_of(input),
                     data_of<T>(weight), strides_of(weight), code.const_data_ptr<uint8_t>(),
                     output_mask[0] ? mutable_data_of<T>(grad_input) : nullptr,
                     output_mask[0] ? strides_of(grad_input) : Strides{},
                     output_mask[1] ? mutable_data_of<T>(grad_weight) : nullptr,
                     output_mask[1] ? strides_of(grad_weight) : Strides{},
                     output_mask[2] ? mutable_data_of<T>(grad_bias) : nullptr},
                    kTorchThreads);
    });
    return {grad_input, grad_weight, grad_bias};
}

std::tuple<Tensor, Tensor> cross_entropy_cpu(const Tensor& logits, const Tensor& targets, double smoothing,
                                             double divisor) {
    STD_TORCH_CHECK(
        logits.dim() == 2 && logits.size(1) > 0 && logits.scalar_type() == ScalarType::Float && logits.is_contiguous(),
        "the logits are not a float32 matrix, contiguous");
    const int64_t rows = logits.size(0), classes = logits.size(1);
    STD_TORCH_CHECK(targets.is_cpu() && targets.dim() == 1 && targets.size(0) == rows &&
                        targets.scalar_type() == ScalarType::Long && targets.is_contiguous(),
                    "the targets are not one int64 for each row of the logits, contiguous");
    const int64_t* const target = data_of<int64_t>(targets);
    for (int64_t row = 0; row < rows; ++row)
        STD_TORCH_CHECK(target[row] >= 0 && target[row] < classes, "Target ", target[row], " is out of bounds.");
    Tensor loss = allocate_flat({}, ScalarType::Float, logits);
    Tensor gradient = allocate_flat({rows, classes}, ScalarType::Float, logits);
    *mutable_data_of<float>(loss) = cross_entropy(
        {rows, classes, data_of<float>(logits), target, smoothing, divisor, mutable_data_of<float>(gradient)});
    return {loss, gradient};
}

// The order of a row's elements is nothing to Muon, as long as it is the same in all three.
void muon_cpu(Tensor parameter, Tensor momentum_buffer, const Tensor& gradient, const Tensor& rate, double momentum,
              double weight_decay, int64_t steps) {
    bool contiguous = true, channels_last = true;
    for (const Tensor* const tensor : std::initializer_list<const Tensor*>{&parameter, &momentum_buffer, &gradient}) {
        STD_TORCH_CHECK(
            tensor->is_cpu() && tensor->scalar_type() == ScalarType::Float && tensor->numel() == parameter.numel(),
            "the parameter, its momentum and its gradient are not float32 and of one size");
        contiguous = contiguous && tensor->is_contiguous();
        channels_last = channels_last && is_dense_channels_last(*tensor);
    }
    STD_TORCH_CHECK(contiguous || channels_last,
                    "the parameter, its momentum and its gradient are neither all contiguous nor all channels_last");
    STD_TORCH_CHECK(parameter.dim() >= 2 && parameter.numel() > 0, "the parameter is not a matrix");
    STD_TORCH_CHECK(rate.is_cpu() && rate.scalar_type() == ScalarType::Double && rate.numel() == 1,
                    "the rate is not one float64");
    const int64_t rows = parameter.size(0);
    muon({rows, parameter.numel() / rows, mutable_data_of<float>(parameter), mutable_data_of<float>(momentum_buffer),
          data_of<float>(gradient), *data_of<double>(rate), momentum, weight_decay, steps});
}

Tensor normalize_cpu(const Tensor& images, const std::optional<Tensor>& index, double scale, double offset) {
    STD_TORCH_CHECK(images.dim() == 3 && images.scalar_type() == ScalarType::Byte && images.is_contiguous(),
                    "the images are not uint8 (N, H, W), contiguous");
    const int64_t count = images.size(0);
    const int64_t* chosen = nullptr;
    if (index) {
        STD_TORCH_CHECK(
            index->is_cpu() && index->dim() == 1 && index->scalar_type() == ScalarType::Long && index->is_contiguous(),
            "the index is not int64, of one dimension, contiguous");
        chosen = data_of<int64_t>(*index);
        for (int64_t i = 0; i < index->size(0); ++i)
            STD_TORCH_CHECK(chosen[i] >= 0 && chosen[i] < count, "image ", chosen[i], " of ", count, " does not exist");
    }
    Tensor batch =
        allocate({index ? index->size(0) : count, 1, images.size(1), images.size(2)}, ScalarType::Float, images, true);
    normalize({batch.size(0), images.size(1) * images.size(2), data_of<uint8_t>(images), chosen,
               static_cast<float>(scale), static_cast<float>(offset), mutable_data_of<float>(batch)},
              kTorchThreads);
    return batch;
}

}  // namespace
}  // namespace mnist_fast

STABLE_TORCH_LIBRARY_IMPL(mnist_fast, CPU, m) {
    m.impl("conv_relu_maxpool2d_forward", TORCH_BOX(&mnist_fast::forward_cpu));
    m.impl("conv_relu_maxpool2d_backward", TORCH_BOX(&mnist_fast::backward_cpu));
    m.impl("cross_entropy", TORCH_BOX(&mnist_fast::cross_entropy_cpu));
    m.impl("muon_", TORCH_BOX(&mnist_fast::muon_cpu));
    m.impl("normalize", TORCH_BOX(&mnist_fast::normalize_cpu));
}
