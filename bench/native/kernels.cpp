#include "kernels.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <new>
#include <random>
#include <utility>

#include "core/block.h"
#include "core/geometry.h"
#include "networks.h"
#include "threads.h"

namespace native_bench {
namespace {

using namespace mnist_fast;

// Aligned as torch's tensors are: how many vectors cross a cache line shows in the times.
template <typename T>
struct Aligned {
    using value_type = T;
    static constexpr std::align_val_t kAlignment{64};

    Aligned() = default;
    template <typename Other>
    Aligned(const Aligned<Other>&) {}

    T* allocate(size_t count) { return static_cast<T*>(::operator new(count * sizeof(T), kAlignment)); }
    void deallocate(T* data, size_t) { ::operator delete(data, kAlignment); }
    bool operator==(const Aligned&) const = default;
};

template <typename T>
using Buffer = std::vector<T, Aligned<T>>;

template <typename T>
Buffer<T> normals(int64_t size, double deviation) {
    static std::mt19937 bits(1);
    std::normal_distribution<double> distribution(0, deviation);
    Buffer<T> values(static_cast<size_t>(size));
    for (T& value : values) value = static_cast<T>(static_cast<Compute<T>>(distribution(bits)));
    return values;
}

// A block with its operands and results.
template <typename T>
struct Data {
    Data(const ConvPool& problem, bool channels_last, Buffer<T> images)
        : p(problem),
          channels_last(channels_last),
          input(std::move(images)),
          weight(normals<T>(p.o * p.c * p.kh * p.kw, std::sqrt(2.0 / static_cast<double>(p.c * p.kh * p.kw)))),
          bias(static_cast<size_t>(p.o)),
          output(static_cast<size_t>(p.n * p.o * p.out_positions())),
          grad_output(normals<T>(p.n * p.o * p.out_positions(), 1)),
          grad_input(input.size()),
          grad_weight(weight.size()),
          grad_bias(bias.size()),
          code(static_cast<size_t>(p.n * p.out_h * p.code_row())) {
        forward();
    }

    Strides strides(int64_t c, int64_t h, int64_t w) const {
        return channels_last ? Strides{c * h * w, 1, w * c, c} : Strides{c * h * w, h * w, w, 1};
    }

    void forward() {
        mnist_fast::forward<T>({p, input.data(), strides(p.c, p.h, p.w), weight.data(), strides(p.c, p.kh, p.kw),
                                bias.data(), output.data(), strides(p.o, p.out_h, p.out_w), code.data()},
                               kThreads);
    }

    void backward(bool of_input, bool of_parameters) {
        const Strides of_x = strides(p.c, p.h, p.w), of_w = strides(p.c, p.kh, p.kw);
        mnist_fast::backward<T>(
            {p, grad_output.data(), strides(p.o, p.out_h, p.out_w), input.data(), of_x, weight.data(), of_w,
             code.data(), of_input ? grad_input.data() : nullptr, of_x, of_parameters ? grad_weight.data() : nullptr,
             of_w, of_parameters ? grad_bias.data() : nullptr},
            kThreads);
    }

    const ConvPool p;
    const bool channels_last;
    Buffer<T> input, weight, bias, output, grad_output, grad_input, grad_weight, grad_bias;
    Buffer<uint8_t> code;
};

}  // namespace

template <typename T>
std::vector<Kernel> make_kernels(int64_t batch_size, bool channels_last) {
    std::vector<Kernel> kernels;
    std::shared_ptr<Data<T>> previous;
    for (const Block& block : kBlocks) {
        const int64_t c = block.first ? 1 : previous->p.o;
        const int64_t h = block.first ? kImageSize : previous->p.out_h,
                      w = block.first ? kImageSize : previous->p.out_w;
        const ConvPool p =
            make_conv_pool({batch_size, c, h, w, block.channels, block.kernel, block.kernel, 1, 1, block.padding,
                            block.padding, block.pool, block.pool, block.pool, block.pool, true});
        const auto data = std::make_shared<Data<T>>(p, channels_last,
                                                    block.first ? normals<T>(p.n * p.h * p.w, 1) : previous->output);
        previous = data;

        const auto values = static_cast<double>(data->output.size());  // after ReLU
        const auto alive =
            values - static_cast<double>(std::count(data->output.begin(), data->output.end(), Compute<T>(0)));
        const double share = alive / values;
        const auto receptive_field = static_cast<double>(p.kh * p.run());
        const auto positions = static_cast<double>(p.n * p.o * p.out_positions() * p.pool_positions());
        kernels.push_back({block.name, "forward", 2 * positions * receptive_field, share, [data] { data->forward(); }});
        kernels.push_back({block.name, "weight_gradient", 2 * alive * receptive_field, share,
                           [data] { data->backward(false, true); }});
        kernels.push_back({block.name, "input_gradient", 2 * alive * receptive_field, share,
                           [data] { data->backward(true, false); }});
    }
    return kernels;
}

template std::vector<Kernel> make_kernels<float>(int64_t, bool);
template std::vector<Kernel> make_kernels<double>(int64_t, bool);
template std::vector<Kernel> make_kernels<bfloat16>(int64_t, bool);

}  // namespace native_bench
