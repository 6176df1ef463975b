// Host side of the direct kernels, for one type of elements: plans and launches.
#pragma once

#include "core/conv_pool.h"
#include "cuda/direct_convolution.cuh"
#include "cuda/direct_weight_gradient.cuh"
#include "cuda/launch.h"
#include "cuda/plan.h"
#include "cuda/reduce.cuh"
#include "cuda/source.cuh"

namespace mnist_fast::cuda {

template <typename T>
class Direct {
  public:
    static void forward(const ForwardArgs<T>& args, cudaStream_t stream) {
        const ConvPool& p = args.p;
        if (p.n == 0) return;
        DirectConvolutionArgs<T> a{};
        a.source = input_source(p, args.input, args.input_strides, false);
        a.weight = args.weight;
        a.weight_strides = args.weight_strides;
        a.bias = args.bias;
        a.relu = p.relu;
        a.output = args.output;
        a.output_strides = args.output_strides;
        a.code = args.code;
        convolve<Fill::kInput>("conv_relu_maxpool2d forward", direct_forward_layer(p), a, current_device(stream));
    }

    static void backward(const BackwardArgs<T>& args, float* workspace, cudaStream_t stream) {
        const Device device = current_device(stream);
        if (args.grad_weight || args.grad_bias) gradient_of_weight(args, workspace, device);
        if (args.grad_input && args.p.n > 0) gradient_of_input(args, device);
    }

  private:
    template <Fill kFill>
    static void convolve(const char* name, const DirectLayer& layer, DirectConvolutionArgs<T>& a,
                         const Device& device) {
        const DirectPlan plan = plan_direct(layer, device.multiprocessors, device.shared_bytes);
        a.planes = plan.planes;
        a.items = plan.items;
        a.out_h = layer.out_h;
        a.out_w = layer.out_w;
        a.groups = plan.groups;
        a.groups_first = a.output_strides.c == 1;
        a.by_groups = Divisor(plan.groups);
        a.by_places = Divisor(plan.items.images * plan.items.rows * layer.out_w);
        a.by_out_w = Divisor(layer.out_w);
        a.by_strips = Divisor(plan.items.rows);
        a.channels = layer.outputs;
        a.whole_codes = layer.outputs % kDirectRun == 0 && is_aligned(a.code);
        a.whole_runs = layer.outputs % kDirectRun == 0 && is_aligned(a.output, a.output_strides, kDirectRun);
        const auto start = [&](void (*kernel)(DirectConvolutionArgs<T>)) {
            launch(name, kernel, dim3(static_cast<unsigned>(plan.blocks)), kDirectThreads, plan.shared_bytes,
                   device.stream, a);
        };
        if constexpr (kFill == Fill::kGradient) {  // never pooled
            start(layer.kernel == 3 ? direct_convolution<T, kFill, 3, 1> : direct_convolution<T, kFill, 5, 1>);
        } else {
            switch (10 * layer.kernel + layer.pool) {
                case 31: return start(direct_convolution<T, kFill, 3, 1>);
                case 32: return start(direct_convolution<T, kFill, 3, 2>);
                case 33: return start(direct_convolution<T, kFill, 3, 3>);
                case 51: return start(direct_convolution<T, kFill, 5, 1>);
                case 52: return start(direct_convolution<T, kFill, 5, 2>);
                default: return start(direct_convolution<T, kFill, 5, 3>);
            }
        }
    }

    static void gradient_of_input(const BackwardArgs<T>& args, const Device& device) {
        const ConvPool& p = args.p;
        const Strides& w = args.weight_strides;
        DirectConvolutionArgs<T> a{};
        a.source =
            gradient_source(args, 1, 1, static_cast<int>(p.kh - 1 - p.pad_h), static_cast<int>(p.kw - 1 - p.pad_w));
        a.weight = args.weight;
        a.weight_strides = {w.c, w.n, w.h, w.w};
        a.flip = true;
        a.output = args.grad_input;
        a.output_strides = args.grad_input_strides;
        convolve<Fill::kGradient>("conv_relu_maxpool2d input gradient", direct_input_gradient_layer(p), a, device);
    }

    static void gradient_of_weight(const BackwardArgs<T>& args, float* partial, const Device& device) {
        const ConvPool& p = args.p;
        const DirectGradientPlan plan = plan_direct_gradient(p, device.multiprocessors);
        const int run = direct_gradient_run(static_cast<int>(p.kh));
        DirectGradientArgs<T> a{};
        a.input = input_source(p, args.input, args.input_strides, false);
        a.planes = plan.planes;
        a.items = plan.items;
        a.out_h = static_cast<int>(p.out_h);
        a.out_w = static_cast<int>(p.out_w);
        a.by_windows = Divisor(plan.items.rows * a.out_w);
        a.by_out_w = Divisor(a.out_w);
        a.gradient = args.grad_output;
        a.gradient_strides = args.grad_output_strides;
        a.code = args.code;
        a.outputs = static_cast<int>(p.o);
        a.whole_runs =
            p.o % run == 0 && is_aligned(args.grad_output, args.grad_output_strides, run) && is_aligned(args.code);
        a.groups = plan.groups;
        a.shares = plan.shares;
        a.partial = partial;
        if (p.n > 0) add_fields(a, static_cast<int>(p.kh), static_cast<int>(p.pool_h), plan, device);

        PartialSums sums{};
        sums.partial = partial;
        sums.shares = p.n > 0 ? plan.blocks : 0;
        sums.rows = plan.rows;
        sums.columns = plan.columns;
        sums.tap_rows = static_cast<int>(p.c);
        sums.bias_row = static_cast<int>(plan.rows) - 1;
        add_up(sums, args, device);
    }

    static void add_fields(const DirectGradientArgs<T>& a, int kernel, int pool, const DirectGradientPlan& plan,
                           const Device& device) {
        const auto start = [&](void (*kernel_of_size)(DirectGradientArgs<T>)) {
            launch("conv_relu_maxpool2d weight gradient", kernel_of_size, dim3(static_cast<unsigned>(plan.blocks)),
                   plan.threads, plan.shared_bytes, device.stream, a);
        };
        switch (10 * kernel + pool) {
            case 31: return start(direct_weight_gradient<T, 3, 1>);
            case 32: return start(direct_weight_gradient<T, 3, 2>);
            case 33: return start(direct_weight_gradient<T, 3, 3>);
            case 51: return start(direct_weight_gradient<T, 5, 1>);
            case 52: return start(direct_weight_gradient<T, 5, 2>);
            default: return start(direct_weight_gradient<T, 5, 3>);
        }
    }
};

}  // namespace mnist_fast::cuda
