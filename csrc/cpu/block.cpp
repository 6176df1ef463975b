// Splits a batch into independent pieces of work and brings each sample to the kernels of the active instruction set.
#include "core/block.h"

#include <atomic>
#include <cstring>
#include <limits>
#include <type_traits>

#include "core/isa.h"
#include "core/reference.h"
#include "core/scratch.h"
#include "cpu/layout.h"
#include "cpu/samples.h"
#include "cpu/select.h"

namespace mnist_fast {
namespace {

using cpu::AliveLists;
using cpu::GradWeightLayout;
using cpu::Kernels;
using cpu::PairKernels;
using cpu::SampleView;

// Pieces of work that keep a small machine busy. Part of the arithmetic (partial sums are added piece by piece), so it
// must depend on the problem only, never on the number of threads.
constexpr int64_t kPieces = 16;

int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t max(int64_t a, int64_t b) { return a > b ? a : b; }

template <typename T>
SampleView<T> sample_view(T* data, const Strides& s, int64_t n, int64_t c, int64_t h, int64_t w) {
    return {data + n * s.n, c, h, w, s.c, s.h, s.w};
}

// The sample's own memory where the kernels can write there, else null.
template <typename T, typename S>
T* in_place(const SampleView<S>& sample) {
    if constexpr (std::is_same_v<S, T>)
        if (sample.is_dense_channels_last()) return sample.data;
    return nullptr;
}

// One call of an operator, for what each thread that takes part prepares for itself: all others would wait while one
// does it for them, and then fetch it from that one's cache.
class Call {
  public:
    // What make() gives, in this thread's scratch: made anew where another call of any kind has been there since.
    template <typename Make>
    auto once_per_thread(const Make& make) const {
        thread_local decltype(make()) made{};
        if (latest_ != number_) {
            made = make();
            latest_ = number_;
        }
        return made;
    }

  private:
    static inline std::atomic<uint64_t> calls_{0};
    static inline thread_local uint64_t latest_ = 0;  // whose is in this thread's scratch
    const uint64_t number_ = ++calls_;
};

template <typename S, typename T>
T* pack_forward_weight(const ForwardArgs<S>& a, const Kernels<T>& kernels) {
    const ConvPool& p = a.p;
    const Strides& s = a.weight_strides;
    const int64_t size = cpu::packed_forward_size(p, kernels.lanes), channels = cpu::round_up(p.o, kernels.lanes);
    T* const packed = scratch<T>(Slot::kWeight, size);
    if (channels != p.o) std::memset(packed, 0, static_cast<size_t>(size) * sizeof(T));
    T* to = packed;
    for (int64_t first = 0; first < channels; first += cpu::kForwardVectors * kernels.lanes) {
        const int64_t width = min(cpu::kForwardVectors * kernels.lanes, channels - first);
        const int64_t filters = min(width, p.o - first);
        for (int64_t ky = 0; ky < p.kh; ++ky)
            for (int64_t kx = 0; kx < p.kw; ++kx, to += p.c * width) {
                const S* const from = a.weight + first * s.n + ky * s.h + kx * s.w;
                if constexpr (std::is_same_v<S, T>)
                    if (s.c == 1) {
                        kernels.transpose(from, s.n, filters, p.c, to, width, false);
                        continue;
                    }
                for (int64_t c = 0; c < p.c; ++c)
                    for (int64_t o = 0; o < filters; ++o) to[c * width + o] = static_cast<T>(from[o * s.n + c * s.c]);
            }
    }
    return packed;
}

// The weights for the input gradient, in blocks of rows x vectors of `lanes` elements. place(i): which element of a
// vector's stands at i, of those that field_element() numbers.
template <typename T, typename S, typename Place>
T* pack_weight_rows(const BackwardArgs<S>& a, int64_t lanes, int64_t accumulators, const Place& place) {
    const ConvPool& p = a.p;
    const Strides& s = a.weight_strides;
    // Where a packed row's elements come from, found once for all filters: the divisions took longer than the copy.
    constexpr int64_t kNowhere = std::numeric_limits<int64_t>::min();
    const int64_t elements = cpu::row_vectors(p, lanes) * lanes;
    int64_t* const origin = scratch<int64_t>(Slot::kListIndex, elements);
    for (int64_t i = 0; i < elements; ++i) {
        const int64_t q = cpu::field_element(p, lanes, place(i));
        origin[i] = q < p.run() ? q % p.c * s.c + q / p.c * s.w : kNowhere;
    }
    const auto are_neighbours = [&](const int64_t* of) {
        for (int64_t i = 0; i < lanes; ++i)
            if (of[0] == kNowhere || of[i] != of[0] + i) return false;
        return true;
    };
    T* const packed = scratch<T>(Slot::kWeight, cpu::packed_rows_size(p, lanes));
    T* to = packed;
    for (int64_t first = 0; first < p.o; first += cpu::kFilterGroup) {
        const int64_t last = min(first + cpu::kFilterGroup, p.o);
        cpu::for_each_row_block(p, last - first, lanes, accumulators, sizeof(T), [&](const cpu::RowBlock& block) {
            const int64_t size = block.rows * block.vectors * lanes;  // of a filter
            for (int64_t v = 0; v < block.vectors; ++v) {
                const int64_t* const of = origin + (block.vector + v) * lanes;
                const bool neighbours = std::is_same_v<S, T> && are_neighbours(of);
                for (int64_t o = first; o < last; ++o)
                    for (int64_t row = 0; row < block.rows; ++row) {
                        const S* const from = a.weight + o * s.n + (block.row + row) * s.h;
                        T* const vector = to + (o - first) * size + (row * block.vectors + v) * lanes;
                        if (neighbours)
                            std::memcpy(vector, from + of[0], static_cast<size_t>(lanes) * sizeof(T));
                        else
                            for (int64_t i = 0; i < lanes; ++i)
                                vector[i] = of[i] == kNowhere ? T{} : static_cast<T>(from[of[i]]);
                    }
            }
            to += (last - first) * size;
        });
    }
    return packed;
}

template <typename S, typename T>
const cpu::WinogradKernels<S, T>& winograd_kernels(const Kernels<T>& kernels) {
    if constexpr (std::is_same_v<S, T>)
        return kernels.winograd;
    else
        return kernels.winograd_of_bfloat16;
}

// The operands that all samples share, as the kernels take them.
template <typename T>
struct Filters {
    const T* weight;
    const T* bias;
    const T* winograd;  // null where the direct kernel is to be used
};

template <typename S, typename T>
Filters<T> prepare_filters(const ForwardArgs<S>& a, const Kernels<T>& kernels) {
    const ConvPool& p = a.p;
    const T* const weight = pack_forward_weight(a, kernels);
    const int64_t channels = cpu::round_up(p.o, kernels.lanes);
    T* const bias = scratch<T>(Slot::kBias, channels);
    for (int64_t o = 0; o < channels; ++o) bias[o] = a.bias && o < p.o ? static_cast<T>(a.bias[o]) : T(0);
    const cpu::WinogradKernels<S, T>& fast = winograd_kernels<S>(kernels);
    if (!winograd() || !cpu::suits_winograd(p, fast.tile_columns)) return {weight, bias, nullptr};
    T* const filter = scratch<T>(Slot::kFilter, cpu::winograd_filter_size(p, kernels.lanes, fast.tile_columns));
    fast.filter(p, weight, filter);
    return {weight, bias, filter};
}

template <typename S, typename T>
void forward_with(const ForwardArgs<S>& a, const Kernels<T>& kernels, const Parallel& parallel) {
    const ConvPool& p = a.p;
    const cpu::WinogradKernels<S, T>& fast = winograd_kernels<S>(kernels);
    const Call call;

    // A piece is a band of one sample's rows; whole samples where there are enough of them.
    const int64_t bands = min(p.out_h, cpu::ceil_div(kPieces, max(p.n, 1)));
    const int64_t band_rows = cpu::ceil_div(p.out_h, bands);
    auto piece = [&](int64_t index) {
        const int64_t n = index / bands, first = index % bands * band_rows, rows = min(band_rows, p.out_h - first);
        if (rows <= 0) return;
        const Filters<T> filters = call.once_per_thread([&] { return prepare_filters(a, kernels); });
        const int64_t row_step = p.pool_stride_h * p.stride_h;
        const int64_t input_rows = (rows - 1) * row_step + (p.pool_h - 1) * p.stride_h + p.kh;
        const SampleView<const S> sample = sample_view(a.input, a.input_strides, n, p.c, p.h, p.w);
        uint8_t* const kept = a.code ? a.code + (n * p.out_h + first) * p.code_row() : nullptr;
        const int64_t row_codes = p.out_w * p.o;
        uint8_t* const code = kept && p.one_bit_codes() ? scratch<uint8_t>(Slot::kCode, rows * row_codes) : kept;
        SampleView<S> y = sample_view(a.output, a.output_strides, n, p.o, rows, p.out_w);
        y.data += first * y.sh;
        T* const staged = in_place<T>(y) ? in_place<T>(y) : scratch<T>(Slot::kOutput, rows * p.out_w * p.o);
        const auto by_winograd = [&] {
            const S* const x = cpu::stage_input<S>(kernels, p, sample, first * row_step, input_rows, true, 0);
            const int64_t size = cpu::winograd_input_size(p, kernels.lanes, fast.tile_columns, fast.tiles);
            return fast.forward(p, rows, x, filters.winograd, filters.bias, scratch<T>(Slot::kArranged, size), staged,
                                code, y.data);
        };
        if (!filters.winograd || !by_winograd()) {
            const T* const x = cpu::stage_input<T>(kernels, p, sample, first * row_step, input_rows, true, 0);
            T* const planes = cpu::suits_planar(p, kernels.lanes)
                                  ? scratch<T>(Slot::kArranged, cpu::planar_size(p, kernels.lanes))
                                  : nullptr;
            kernels.forward(p, rows, x, filters.weight, filters.bias, planes, staged, code);
        }
        if (code != kept)
            for (int64_t row = 0; row < rows; ++row)
                kernels.pack_codes(code + row * row_codes, row_codes, kept + row * p.code_row());
        if (!in_place<T>(y)) cpu::unstage(kernels, staged, p.out_w, 0, 0, y);
    };
    parallel_for(parallel, p.n * bands, piece);
}

template <typename S>
SampleView<const S> grad_output_view(const BackwardArgs<S>& a, int64_t n) {
    return sample_view(a.grad_output, a.grad_output_strides, n, a.p.o, a.p.out_h, a.p.out_w);
}

// Weight and bias gradients are summed over chunks of samples, each with its own partial sums; over blocks of output
// channels as well where chunks would be too few.
struct Partition {
    int64_t weight_size, partial_size;  // of one chunk: weights, then biases
    int64_t chunks, block, blocks;      // `block` channels in each of the blocks

    template <typename S>
    Partition(const BackwardArgs<S>& a, const GradWeightLayout& layout, int64_t lanes) {
        constexpr int64_t kPartialBytes = 16 << 20;
        const ConvPool& p = a.p;
        const int64_t vectors = cpu::ceil_div(p.o, lanes);
        weight_size = a.grad_weight ? layout.size : 0;
        partial_size = cpu::round_up(weight_size + p.o, lanes);
        const int64_t affordable = kPartialBytes / (partial_size * static_cast<int64_t>(sizeof(Compute<S>)));
        chunks = max(1, min(min(p.n, kPieces), affordable));
        block = cpu::ceil_div(vectors, min(vectors, cpu::ceil_div(kPieces / 2, chunks))) * lanes;
        blocks = cpu::ceil_div(p.o, block);
    }
};

// What arrives at a sample's windows, dense, and who won there, a byte each.
template <typename T>
struct Winners {
    const T* grad;
    const uint8_t* code;
};

// The gradients of one sample. `pairs`: null, or the kernels that take bfloat16 as it is.
template <typename S, typename T>
struct SampleGradients {
    const BackwardArgs<S>& a;
    const Kernels<T>& kernels;
    const PairKernels* pairs;
    const Call call{};

    Winners<T> stage_winners(int64_t n) const {
        const ConvPool& p = a.p;
        const T* const grad = cpu::stage_grad_output(kernels, grad_output_view(a, n));
        const uint8_t* const codes = a.code + n * p.out_h * p.code_row();
        if (!p.one_bit_codes()) return {grad, codes};
        const int64_t row_codes = p.out_w * p.o;
        uint8_t* const bytes = scratch<uint8_t>(Slot::kCode, p.out_h * row_codes);
        for (int64_t row = 0; row < p.out_h; ++row)
            kernels.unpack_codes(codes + row * p.code_row(), row_codes, bytes + row * row_codes);
        return {grad, bytes};
    }

    // Adds the gradients of the parameters of output channels [o_begin, o_end) to a chunk's partial sums.
    void add_parameters(int64_t n, int64_t o_begin, int64_t o_end, const Winners<T>& winners, T* weight_partial,
                        T* bias_partial) const {
        const ConvPool& p = a.p;
        if (a.grad_weight) {
            // A strip has the most rows where elements are smallest.
            const int64_t capacity = cpu::kListedChannels * cpu::channel_list_capacity(p, kernels.lanes, sizeof(S));
            const AliveLists<T> lists{scratch<int32_t>(Slot::kListIndex, capacity),
                                      scratch<T>(Slot::kListGrad, capacity)};
            if constexpr (std::is_same_v<S, bfloat16>)
                if (pairs)
                    pairs->weight_gradient(p, o_begin, o_end, stage_input<S>(n, cpu::kPairElements), winners.grad,
                                           winners.code, lists, weight_partial);
            if (!pairs) {
                kernels.weight_gradient(p, o_begin, o_end, stage_input<T>(n, cpu::read_slack(kernels.lanes)),
                                        winners.grad, winners.code, lists, weight_partial);
            }
        }
        if (a.grad_bias) kernels.bias_gradient(p, o_begin, o_end, winners.grad, winners.code, bias_partial);
    }

    void write_input(int64_t n, const Winners<T>& winners) const {
        const ConvPool& p = a.p;
        const SampleView<S> grad_input = sample_view(a.grad_input, a.grad_input_strides, n, p.c, p.h, p.w);
        const int64_t size = p.padded_h() * p.padded_w() * p.c;
        const bool unpadded = p.pad_h == 0 && p.pad_w == 0;
        T* const own = unpadded ? in_place<T>(grad_input) : nullptr;
        T* const sum = own ? own : scratch<T>(Slot::kGradInput, size);
        if constexpr (std::is_same_v<S, bfloat16>)
            if (pairs) pairs->input_gradient(p, weight_pairs(), winners.grad, winners.code, sum);
        if (!pairs) kernels.input_gradient(p, weight_rows(), winners.grad, winners.code, sum);
        if (!own) cpu::unstage(kernels, sum, p.padded_w(), p.pad_h, p.pad_w, grad_input);
    }

  private:
    const S* weight_pairs() const {
        return call.once_per_thread(
            [&] { return pack_weight_rows<S>(a, cpu::kPairElements, pairs->accumulators, cpu::pair_place); });
    }
    const T* weight_rows() const {
        return call.once_per_thread(
            [&] { return pack_weight_rows<T>(a, kernels.lanes, kernels.accumulators, [](int64_t q) { return q; }); });
    }

    template <typename Staged>
    const Staged* stage_input(int64_t n, int64_t slack) const {
        const ConvPool& p = a.p;
        const bool last = n + 1 == p.n || a.input_strides.n < p.h * p.w * p.c;
        return cpu::stage_input<Staged>(kernels, p, sample_view(a.input, a.input_strides, n, p.c, p.h, p.w), 0,
                                        p.padded_h(), !last, slack);
    }
};

// The sum of all chunks' partial sums, which ends up in the first one's place.
template <typename T>
void sum_chunks(const Partition& parts, T* partials, const Parallel& parallel) {
    constexpr int64_t kSlice = 4096;
    auto slice = [&](int64_t index) {
        const int64_t begin = index * kSlice, count = min(kSlice, parts.partial_size - begin);
        T* const sum = partials + begin;
        for (int64_t chunk = 1; chunk < parts.chunks; ++chunk) {
            const T* const other = sum + chunk * parts.partial_size;
            for (int64_t i = 0; i < count; ++i) sum[i] += other[i];
        }
    };
    parallel_for(parallel, cpu::ceil_div(parts.partial_size, kSlice), slice);
}

template <typename S, typename T>
void write_parameter_gradients(const BackwardArgs<S>& a, const GradWeightLayout& layout, const Partition& parts,
                               const T* sums, const Parallel& parallel) {
    const ConvPool& p = a.p;
    const Strides& s = a.grad_weight_strides;
    const auto write_channel = [&](int64_t o) {
        if (a.grad_bias) a.grad_bias[o] = static_cast<S>(sums[parts.weight_size + o]);
        if (!a.grad_weight) return;
        for (int64_t ky = 0; ky < p.kh; ++ky)
            for (int64_t kx = 0; kx < p.kw; ++kx)
                for (int64_t c = 0; c < p.c; ++c) {
                    const T sum = sums[layout.at(o, ky, kx * p.c + c)];
                    a.grad_weight[o * s.n + c * s.c + ky * s.h + kx * s.w] = static_cast<S>(sum);
                }
    };
    // A few thousand weights are written sooner than another thread has come to help.
    constexpr int64_t kSlice = 16384;
    const int64_t channels = max(1, kSlice / (p.kh * p.run()));
    auto slice = [&](int64_t index) {
        for (int64_t o = index * channels; o < min((index + 1) * channels, p.o); ++o) write_channel(o);
    };
    parallel_for(parallel, cpu::ceil_div(p.o, channels), slice);
}

template <typename S, typename T>
void backward_with(const BackwardArgs<S>& a, const Kernels<T>& kernels, const Parallel& parallel) {
    const ConvPool& p = a.p;
    const bool in_pairs = std::is_same_v<S, bfloat16> && cpu::suits_pairs(p);
    const PairKernels* const pairs = in_pairs ? cpu::active_pair_kernels() : nullptr;
    const GradWeightLayout layout = cpu::grad_weight_layout(p, kernels.lanes, pairs);
    const Partition parts(a, layout, kernels.lanes);
    const SampleGradients<S, T> sample{a, kernels, pairs};
    const bool parameters = a.grad_weight || a.grad_bias;

    // Both gradients of a sample one after the other, while it is in the cache; unless its channels are split up.
    const bool together = parameters && parts.blocks == 1;
    if (parameters) {
        T* const partials = scratch<T>(Slot::kPartial, parts.chunks * parts.partial_size);
        const size_t partial_bytes = static_cast<size_t>(parts.partial_size) * sizeof(T);
        if (parts.blocks > 1) std::memset(partials, 0, static_cast<size_t>(parts.chunks) * partial_bytes);
        auto piece = [&](int64_t index) {
            const int64_t chunk = index / parts.blocks, o_begin = index % parts.blocks * parts.block;
            T* const weight_partial = partials + chunk * parts.partial_size;
            // By the thread that needs it in its cache.
            if (parts.blocks == 1) std::memset(weight_partial, 0, partial_bytes);
            for (int64_t n = p.n * chunk / parts.chunks; n < p.n * (chunk + 1) / parts.chunks; ++n) {
                const Winners<T> winners = sample.stage_winners(n);
                sample.add_parameters(n, o_begin, min(o_begin + parts.block, p.o), winners, weight_partial,
                                      weight_partial + parts.weight_size);
                if (together && a.grad_input) sample.write_input(n, winners);
            }
        };
        parallel_for(parallel, parts.chunks * parts.blocks, piece);
        sum_chunks(parts, partials, parallel);
        write_parameter_gradients(a, layout, parts, partials, parallel);
    }
    if (a.grad_input && !together) {
        auto piece = [&](int64_t n) { sample.write_input(n, sample.stage_winners(n)); };
        parallel_for(parallel, p.n, piece);
    }
}

}  // namespace

template <typename S>
void forward(const ForwardArgs<S>& args, const Parallel& parallel) {
    if (const Kernels<Compute<S>>* kernels = cpu::active_kernels<Compute<S>>())
        forward_with(args, *kernels, parallel);
    else
        reference_forward(args);
}

template <typename S>
void backward(const BackwardArgs<S>& args, const Parallel& parallel) {
    const Kernels<Compute<S>>* kernels = cpu::active_kernels<Compute<S>>();
    if (kernels)
        backward_with(args, *kernels, parallel);
    else
        reference_backward(args);
}

template void forward(const ForwardArgs<float>&, const Parallel&);
template void forward(const ForwardArgs<double>&, const Parallel&);
template void forward(const ForwardArgs<bfloat16>&, const Parallel&);
template void backward(const BackwardArgs<float>&, const Parallel&);
template void backward(const BackwardArgs<double>&, const Parallel&);
template void backward(const BackwardArgs<bfloat16>&, const Parallel&);

}  // namespace mnist_fast
