// Host side of the fused block, for one arithmetic: plans, packs the weights, launches. Each arithmetic is compiled in
// a file of its own (*.cu), so that several compilers can work at a time.
#pragma once

#include <stdexcept>

#include "core/conv_pool.h"
#include "cuda/convolution.cuh"
#include "cuda/launch.h"
#include "cuda/pack.cuh"
#include "cuda/plan.h"
#include "cuda/reduce.cuh"
#include "cuda/source.cuh"
#include "cuda/weight_gradient.cuh"

namespace mnist_fast::cuda {

template <typename Arithmetic>
class Block {
  public:
    using T = typename Arithmetic::Element;
    static constexpr int kBytes = static_cast<int>(sizeof(T));

    static void forward(const ForwardArgs<T>& args, void* workspace, cudaStream_t stream) {
        const ConvPool& p = args.p;
        if (p.n == 0) return;
        const Device device = current_device(stream);
        const Windows windows = forward_windows(p, kBytes);
        const ConvolutionPlan plan = plan_for(windows, p.o, device);
        const Source<T> source = input_source(p, args.input, args.input_strides, is_im2col(p, kBytes));
        pack_weights({args.weight, args.weight_strides, static_cast<int>(p.o), static_cast<int>(p.c),
                      static_cast<int>(p.kh), static_cast<int>(p.kw), false, tap_depth(p)},
                     plan, workspace, device);

        ConvolutionArgs<T> a = convolution_args(source, windows, plan, workspace);
        a.bias = args.bias;
        a.channels = static_cast<int>(p.o);
        a.relu = p.relu;
        a.output = args.output;
        a.output_strides = args.output_strides;
        a.code = args.code;
        convolve("conv_relu_maxpool2d forward", a, windows.pool, plan, device);
    }

    static void backward(const BackwardArgs<T>& args, void* workspace, cudaStream_t stream) {
        const Device device = current_device(stream);
        if (args.grad_weight || args.grad_bias) gradient_of_weight(args, static_cast<float*>(workspace), device);
        if (args.grad_input && args.p.n > 0) gradient_of_input(args, workspace, device);
    }

  private:
    static ConvolutionPlan plan_for(const Windows& windows, int64_t columns, const Device& device) {
        const ConvolutionPlan plan = plan_convolution(windows, columns, device.multiprocessors, device.shared_bytes);
        if (!plan.fits) throw std::invalid_argument("no CUDA kernel for weights or rows of this size");
        return plan;
    }

    // Of the weight's depth, from one tap to the next.
    static int tap_depth(const ConvPool& p) {
        return is_im2col(p, kBytes) ? static_cast<int>(p.c) : round_up(static_cast<int>(p.c), Arithmetic::kUnit);
    }
    static int round_up(int number, int to) { return (number + to - 1) / to * to; }

    static void pack_weights(PackArgs<T> a, const ConvolutionPlan& plan, void* packed, const Device& device) {
        constexpr int kThreads = 256;
        a.column_tiles = plan.column_tiles;
        a.steps = plan.steps;
        a.count = int64_t{plan.column_blocks} * plan.packed_bytes / kBytes;
        a.packed = static_cast<T*>(packed);
        const auto blocks = static_cast<unsigned>((a.count + kThreads - 1) / kThreads);
        launch("packing of weights", pack<Arithmetic>, dim3(blocks), kThreads, 0, device.stream, a);
    }

    static ConvolutionArgs<T> convolution_args(const Source<T>& source, const Windows& windows,
                                               const ConvolutionPlan& plan, const void* packed) {
        ConvolutionArgs<T> a{};
        a.source = source;
        a.plane = plan.plane;
        a.items = plan.items;
        a.out_h = windows.out_h;
        a.out_w = windows.out_w;
        a.by_windows = Divisor(plan.items.rows * windows.out_w);
        a.by_out_w = Divisor(windows.out_w);
        a.step_h = windows.step_h;
        a.step_w = windows.step_w;
        a.position_h = windows.position_h;
        a.position_w = windows.position_w;
        a.taps_w = windows.taps_w;
        a.tap_units = windows.tap_units;
        a.units = windows.units();
        a.steps = plan.steps;
        a.packed = static_cast<const unsigned char*>(packed);
        a.packed_bytes = plan.packed_bytes;
        return a;
    }

    static void convolve(const char* name, ConvolutionArgs<T>& a, int pool, const ConvolutionPlan& plan,
                         const Device& device) {
        const int run = 2 * plan.column_tiles;
        a.whole_codes = a.channels % run == 0 && is_aligned(a.code);
        a.whole_runs = a.channels % run == 0 && is_aligned(a.output, a.output_strides, run);
        const dim3 grid(static_cast<unsigned>(plan.blocks), static_cast<unsigned>(plan.column_blocks));
        const auto start = [&](void (*kernel)(ConvolutionArgs<T>)) {
            launch(name, kernel, grid, 32 * kConvolutionWarps, plan.shared_bytes, device.stream, a);
        };
        switch (10 * pool + plan.column_tiles) {
            case 12: return start(convolution<Arithmetic, 1, 2>);
            case 14: return start(convolution<Arithmetic, 1, 4>);
            case 22: return start(convolution<Arithmetic, 2, 2>);
            case 24: return start(convolution<Arithmetic, 2, 4>);
            case 32: return start(convolution<Arithmetic, 3, 2>);
            case 28:
                if constexpr (sizeof(T) == 2) return start(convolution<Arithmetic, 2, 8>);
                [[fallthrough]];  // plan_convolution() asks for no more than 4 of 32 bits
            default: throw std::invalid_argument("no CUDA kernel for this pooling window");
        }
    }

    static void gradient_of_input(const BackwardArgs<T>& args, void* workspace, const Device& device) {
        const ConvPool& p = args.p;
        const Windows windows = input_gradient_windows(p, kBytes);
        const ConvolutionPlan plan = plan_for(windows, p.c, device);
        const Strides& w = args.weight_strides;
        pack_weights({args.weight,
                      {w.c, w.n, w.h, w.w},
                      static_cast<int>(p.c),
                      static_cast<int>(p.o),
                      static_cast<int>(p.kh),
                      static_cast<int>(p.kw),
                      true,
                      round_up(static_cast<int>(p.o), Arithmetic::kUnit)},
                     plan, workspace, device);

        const Source<T> source =
            gradient_source(args, static_cast<int>(p.stride_h), static_cast<int>(p.stride_w),
                            static_cast<int>(p.kh - 1 - p.pad_h), static_cast<int>(p.kw - 1 - p.pad_w));
        ConvolutionArgs<T> a = convolution_args(source, windows, plan, workspace);
        a.channels = static_cast<int>(p.c);
        a.output = args.grad_input;
        a.output_strides = args.grad_input_strides;
        convolve("conv_relu_maxpool2d input gradient", a, 1, plan, device);
    }

    static void gradient_of_weight(const BackwardArgs<T>& args, float* partial, const Device& device) {
        const ConvPool& p = args.p;
        const WeightGradientPlan plan = plan_weight_gradient(p, kBytes, device.multiprocessors);
        if (!plan.fits) throw std::invalid_argument("no CUDA kernel for weights or rows of this size");
        const Windows windows = forward_windows(p, kBytes);

        WeightGradientArgs<T> a{};
        a.input = input_source(p, args.input, args.input_strides, is_im2col(p, kBytes));
        a.gradient = gradient_source(args, 1, 1, 0, 0);
        a.input_plane = plan.input_plane;
        a.gradient_plane = plan.gradient_plane;
        a.items = plan.items;
        a.step_h = windows.step_h;
        a.window_rows = static_cast<int>(p.pool_stride_h);
        a.position_h = windows.position_h;
        a.position_w = windows.position_w;
        a.pixels = plan.pixels;
        a.taps_w = windows.taps_w;
        a.tap_units = windows.tap_units;
        a.units = windows.units();
        a.row_warps = plan.row_warps;
        a.depth_warps = plan.depth_warps;
        a.partial = partial;
        a.partial_rows = plan.rows();
        a.partial_columns = plan.columns();
        if (p.n > 0) add_products(a, plan, device);

        PartialSums sums{};
        sums.partial = partial;
        sums.shares = p.n > 0 ? plan.shares() : 0;
        sums.rows = plan.rows();
        sums.columns = plan.columns();
        sums.tap_rows = tap_depth(p);
        sums.bias_row = windows.units() * Arithmetic::kUnit;
        add_up(sums, args, device);
    }

    static void add_products(const WeightGradientArgs<T>& a, const WeightGradientPlan& plan, const Device& device) {
        const dim3 grid(static_cast<unsigned>(plan.blocks), static_cast<unsigned>(plan.row_blocks),
                        static_cast<unsigned>(plan.column_blocks));
        const auto start = [&](void (*kernel)(WeightGradientArgs<T>)) {
            launch("conv_relu_maxpool2d weight gradient", kernel, grid, 32 * plan.row_warps * plan.depth_warps,
                   plan.shared_bytes, device.stream, a);
        };
        switch (plan.column_tiles) {
            case 2: return start(weight_gradient<Arithmetic, 2>);
            case 4: return start(weight_gradient<Arithmetic, 4>);
            default: return start(weight_gradient<Arithmetic, 8>);
        }
    }
};

}  // namespace mnist_fast::cuda
